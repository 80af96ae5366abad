"""`zpcode recover`: bring a restored database forward, so that no number, no code and no decision is lost or used twice.

One transaction. Until it commits nothing has changed (sequences excepted, which only move forward), so it may be
interrupted and repeated. With its commit the database is not behind any more, and every process notices this by itself. Then
Redis is filled again, because it may have cards that the database lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import RedisError

from zpcode.errors import Text, Unavailable
from zpcode.projection import client
from zpcode.rules.continuity import (
    COUNTERS,
    DatabaseMarks,
    Marks,
    behind,
    files_without_batch,
    foreign,
    highest,
    recorded_marks,
)
from zpcode.services.continuity import refusals, survey
from zpcode.services.continuity.batches import BatchRecovery, RecoveredBatch
from zpcode.services.continuity.decisions import DecisionRecovery
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.services.continuity.survey import NewerCopy
from zpcode.services.continuity.witnesses import Testimony
from zpcode.services.fsck.cards import derived_cards
from zpcode.services.notices import encoded_card
from zpcode.services.registry.product_cards import product_cards
from zpcode.store import audit, continuity, recovery, status
from zpcode.store import cards as card_table
from zpcode.store.database.session import Connection, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.calendar import today
from zpcode.wire.card import product_key
from zpcode.wire.payload import MAX_BATCH

MARGIN: Final = 100
"""Batch numbers that are left out above the highest known one: a number may have been given without any witness."""
_SLICE: Final = 500


def recover(setting: RecoverySetting, *, apply: bool) -> RecoveryReport:
    """Bring the database forward; without `apply` only report what would be done.

    Raises Conflict if a witness is silent, empty or damaged, if Redis belongs to another installation, and if more batch numbers
    would be left out than is plausible; Unavailable.
    """
    testimonies = _heard(setting)
    with transaction(setting.engine) as connection:
        report = _Recovery(setting, connection, testimonies).run(apply=apply)
        if not apply:
            connection.rollback()
    return report


def _heard(setting: RecoverySetting) -> dict[str, Testimony]:
    """What the witnesses say. Raises Conflict if one is silent that may not be."""
    testimonies: dict[str, Testimony] = {}
    for witness in setting.witnesses:
        try:
            testimonies[witness.name] = witness.read()
        except Unavailable as unavailable:
            if witness.name not in setting.without:
                raise refusals.silent(witness.name) from unavailable
    return testimonies


class _Recovery:
    """One run within one transaction."""

    def __init__(self, setting: RecoverySetting, connection: Connection, testimonies: dict[str, Testimony]) -> None:
        self._setting, self._connection, self._testimonies = setting, connection, testimonies
        self.report = RecoveryReport()

    def run(self, *, apply: bool) -> RecoveryReport:
        """Take the locks of all writers, compare, and enter again what is proven."""
        connection, report = self._connection, self.report
        continuity.exempt(connection)
        recovery.lock(connection)
        audit.lock(connection)
        card_table.lock_projector(connection)
        database = self._compare()
        if not report.evidence:
            self._record_lost_batches()
            return report
        refusals.require_redis(self._setting, self._testimonies)
        newer = self._newer_copies(database)
        known = report.known = highest([self._beyond_backup(database), self._known(newer, database)])
        refusals.require_plausible(self._setting, known, database)
        self._note_uncertain(database)
        if apply:
            recovery.move_sequences(connection, _with_margin(known, database.assigned.batch))
        recovery.move_revision(connection, known.revision)
        entry = self._append_entry(database, known)
        report.number = continuity.add_recovery(
            connection, at=self._setting.now, actor=self._setting.caller.name, audit_id=entry, taken_in=self._taken_in()
        )
        keys = self._enter_again(newer, database)
        if apply:
            self._write_cards(keys)
        return report

    def _note_uncertain(self, database: DatabaseMarks) -> None:
        """Report what decisions nobody can prove: those that Redis would have and does not know."""
        own, last = database.assigned.audit, self.report.known.audit
        redis = self._testimonies.get("redis", Testimony(complete=False))
        shown = min((one.audit for one in redis.marks), default=0) if redis.complete else 0
        if not redis.complete or shown < max(own, last):
            self.report.uncertain_since = audit.last_time(self._connection) or self._setting.now
            self.report.uncertain_entries = (max(own, shown) + 1, last) if last > max(own, shown) else (1, 0)

    def _record_lost_batches(self) -> None:
        """Record the lost batches that are proven now: a file was found again, or a product was imported again."""
        batches = self._batches()
        former = recovery.lost_batches(self._connection)
        self.report.batches = batches.recover({number: body for number, body in former.items() if body is not None})
        if self.report.batches:
            self._write_cards([*(f"b:{one.number}" for one in self.report.batches), *batches.lot_keys])

    def _batches(self) -> BatchRecovery:
        setting = self._setting
        return BatchRecovery(
            self._connection, setting.exports, setting.keyring, setting.base, setting.caller, setting.now
        )

    def _compare(self) -> DatabaseMarks:
        """The marks of the database; the evidence goes into the report. Raises Conflict for another installation's Redis."""
        marks = [one for testimony in self._testimonies.values() for one in testimony.marks]
        database = continuity.marks(self._connection, {one.audit for one in marks if one.audit_hash})
        self._testimonies = refusals.sound(self._setting, self._testimonies, database)
        proofs = list(database.evidence)
        for name, testimony in self._testimonies.items():
            proofs += [proof for one in testimony.marks for proof in behind(name, one, database)]
            existing = continuity.batches_with_record(self._connection, testimony.files)
            proofs += files_without_batch(testimony.files, existing)
        if foreign([one for one in proofs if one.kind == "installation"]):
            raise refusals.conflict(
                "another-installation",
                "缓存属于另一套系统，不能作为恢复的依据",
                "this Redis belongs to another installation; nothing can be recovered from it",
            )
        self.report.evidence = tuple(dict.fromkeys(proofs))
        return database

    def _newer_copies(self, database: DatabaseMarks) -> dict[str, NewerCopy]:
        """The cards of Redis that the database lost; none if Redis is silent and may be."""
        if "redis" not in self._testimonies:
            return {}
        forked = any(one.kind == "audit_hash" for one in self.report.evidence)
        try:
            layout = client.layout(self._setting.redis)
            return survey.newer_copies(self._connection, layout, database, forked=forked)
        except RedisError as error:
            raise Unavailable(Text("缓存服务没有应答", "Redis does not answer")) from error

    def _known(self, newer: dict[str, NewerCopy], database: DatabaseMarks) -> Marks:
        """The highest marks that anything knows of."""
        marks = [one for testimony in self._testimonies.values() for one in testimony.marks]
        files = [number for testimony in self._testimonies.values() for number in testimony.files]
        files += [int(key[2:]) for key in survey.kinds(newer, "b") if key[2:].isdigit()]
        counted = Marks(
            batch=max([self._setting.above, *files]), revision=max([0, *(copy.revision for copy in newer.values())])
        )
        return highest([*marks, counted, *recorded_marks(self.report.evidence, database.assigned)])

    def _beyond_backup(self, database: DatabaseMarks) -> Marks:
        """If `zpcode restore-backup` made this database: numbers that it may have given since the backup.

        Nobody may be left who knows them. Codes of batches with such numbers then say that they cannot be confirmed.
        """
        if all(one.kind != "restored" for one in self.report.evidence):
            return Marks()
        own = database.assigned
        beyond = {kind: getattr(own, kind) + MARGIN for kind in COUNTERS if kind != "revision"}
        return Marks(**beyond | {"batch": min(beyond["batch"], MAX_BATCH)})

    def _append_entry(self, database: DatabaseMarks, known: Marks) -> int:
        """The audit entry of this recovery, with a number above every lost one."""
        detail: dict[str, Any] = {
            "evidence": [msgspec.to_builtins(one) for one in self.report.evidence],
            "known": msgspec.to_builtins(known),
        }
        number = audit.append_recovery(
            self._connection,
            at=self._setting.now,
            actor=self._setting.caller.name,
            detail=detail,
            lost_to=known.audit,
        )
        self.report.lost_entries = database.assigned.audit + 1, number - 1
        return number

    def _taken_in(self) -> dict[str, Marks]:
        return {name: highest(testimony.marks) for name, testimony in self._testimonies.items() if testimony.marks}

    def _enter_again(self, newer: dict[str, NewerCopy], database: DatabaseMarks) -> list[str]:
        """Batches first, then the decisions about them; returns the keys of the cards that follow from both."""
        report, connection = self.report, self._connection
        batches = self._batches()
        former = {number: body for number, body in recovery.lost_batches(connection).items() if body is not None}
        former |= {int(key[2:]): newer[key].body for key in survey.kinds(newer, "b") if key[2:].isdigit()}
        report.batches = batches.recover(former)
        numbers = self._unrecorded(former, database)
        recovery.add_lost(connection, numbers, report.number, former)
        report.batches += [RecoveredBatch(number, "lost") for number in numbers]
        decisions = DecisionRecovery(connection, self._setting.caller, self._setting.now)
        decisions.recover(newer)
        report.decisions, report.unconfirmed = decisions.entered, decisions.unconfirmed
        recovery.hold_decisions(connection, report.unconfirmed, report.number)
        products = survey.kinds(newer, "p")
        report.kept = self._keep_products({key: newer[key].body for key in products})
        keys = [*products, *(f"b:{one.number}" for one in report.batches), *decisions.keys, *batches.lot_keys]
        report.unproven = sorted(set(newer) - set(keys) - {"n:"} - decisions.settled)
        return keys

    def _keep_products(self, newer: Mapping[str, bytes]) -> list[str]:
        """Keep the product cards that the registry of the database does not give today; returns their keys.

        The registry was imported after the backup. The older registry could show as valid what has been ended since.
        """
        day = today(self._setting.now)
        derived = product_cards(self._connection, [key[2:] for key in newer], day)
        given = {product_key(gtin): msgspec.msgpack.encode(card) for gtin, card in derived.items()}
        kept = [key for key, body in newer.items() if given.get(key) != body]
        for key in kept:
            recovery.keep_card(self._connection, key, self.report.number, newer[key])
        return kept

    def _unrecorded(self, former: Collection[int], database: DatabaseMarks) -> list[int]:
        """The numbers that may have codes and have no record: those with a card or a file, and all newly left out."""
        files = {number for testimony in self._testimonies.values() for number in testimony.files}
        top = min(self.report.known.batch, MAX_BATCH)
        # From the last row on: a sequence that was recovered is up to 32 ahead of the numbers that it had given.
        left_out = recovery.numbers_without_record(self._connection, database.reached.batch + 1, top)
        candidates = {*files, *former, *left_out}
        with_batch = {one.number for one in self.report.batches if one.outcome != "lost"}
        return recovery.without_record(self._connection, candidates - with_batch)

    def _write_cards(self, keys: Sequence[str]) -> None:
        """Derive the cards with these keys from the records; one card at least gets a revision above all that were lost."""
        connection = self._connection
        with_items = status.batches_with_items(connection)
        day = today(self._setting.now)
        for start in range(0, len(keys), _SLICE):
            part = derived_cards(connection, keys[start : start + _SLICE], day, with_items)
            card_table.put_cards(connection, {key: msgspec.msgpack.encode(card) for key, card in part.items()})
        card_table.put_cards(connection, encoded_card(connection))
        newest, _ = integrity.newest_card(connection)
        if newest < card_table.head(connection):
            first = integrity.cards_after(connection, "", 1)
            card_table.renew(connection, [card.key for card in first])


def _with_margin(known: Marks, assigned: int) -> Marks:
    return msgspec.structs.replace(known, batch=min(max(known.batch, assigned) + MARGIN, MAX_BATCH))
