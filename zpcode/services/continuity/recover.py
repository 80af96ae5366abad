"""`zpcode recover`: bring a restored database forward, so that no number, no code and no decision is lost or used twice.

One transaction. Until it commits nothing has changed (sequences excepted, which only move forward), so it may be
interrupted and repeated. With its commit the database is not behind any more, and every process notices this by itself. Then
Redis is filled again, because it may have cards that the database lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import RedisError

from keys.client import SigningService
from zpcode.errors import KeyringError, SignerError, Text, Unavailable
from zpcode.projection import client
from zpcode.rules.continuity import (
    COUNTERS,
    BehindEvidence,
    DatabaseMarks,
    Marks,
    behind,
    files_without_batch,
    foreign,
    highest,
    recorded_marks,
    recorded_numbers,
    signed_without_batch,
)
from zpcode.services.continuity import refusals, survey
from zpcode.services.continuity.derived import write_cards, write_lost_cards
from zpcode.services.continuity.proofs import Proofs
from zpcode.services.continuity.reentry import LOST, Reentry
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.services.continuity.signed_codes import signed_numbers
from zpcode.services.continuity.survey import NewerCopy, ReadCards
from zpcode.services.continuity.witnesses import SIGNER, Testimony
from zpcode.services.records.recovered import logged_changes
from zpcode.store import audit, continuity, recovery
from zpcode.store import cards as card_table
from zpcode.store.database.session import Connection, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.calendar import today
from zpcode.wire.payload import MAX_BATCH

MARGIN: Final = 100
"""Batch numbers that are left out above the highest known one: a number may have been given without any witness."""


def recover(setting: RecoverySetting, *, agreed: str | None = None) -> RecoveryReport:
    """Bring the database forward, if what is entered has the digest `agreed`; None: only report what would be done.

    Raises Conflict if the digest is another one, if a witness is silent, empty or damaged, if Redis belongs to another installation,
    and if more would be left out or entered than is plausible; Unavailable.
    """
    testimonies = _heard(setting)
    with transaction(setting.engine) as connection:
        run = _Recovery(setting, connection, testimonies)
        report = run.report_only() if agreed is None else run.apply(agreed)
        if agreed is None:
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
    if SIGNER in testimonies and setting.signer is not None:
        testimonies[SIGNER] = _whole_log(setting, setting.signer, testimonies[SIGNER])
    return testimonies


def _whole_log(setting: RecoverySetting, signer: SigningService, testimony: Testimony) -> Testimony:
    """The signer's testimony with all batch numbers in its log. Raises Conflict if the log cannot be read and may not be left out."""
    try:
        return testimony._replace(signed=tuple(sorted({*testimony.signed, *signed_numbers(signer)})))
    except (SignerError, KeyringError) as unreadable:
        if SIGNER not in setting.without:
            raise refusals.silent(SIGNER) from unreadable
        return testimony


class _Recovery:
    """One run within one transaction."""

    def __init__(self, setting: RecoverySetting, connection: Connection, testimonies: dict[str, Testimony]) -> None:
        self._setting, self._connection, self._testimonies = setting, connection, testimonies
        self._proofs = Proofs(setting.exports, setting.keyring, setting.signer)
        self._cards = ReadCards()
        self._unrecorded: set[int] = set()
        self.report = RecoveryReport()

    def report_only(self) -> RecoveryReport:
        """What would be done. The caller rolls the transaction back."""
        database = self._survey()
        if self.report.evidence:
            self._bring_forward(database)
        else:
            self._record_lost()
        return self.report

    def apply(self, agreed: str) -> RecoveryReport:
        """Do it, if it has this digest.

        Everything is entered twice: the first time only for the digest. A sequence that was moved does not move back.
        """
        database = self._survey()
        if not self.report.evidence:
            keys = self._record_lost()
            refusals.require_agreed(self.report.digest, agreed)
            write_cards(self._connection, keys, today(self._setting.now))
            return self.report
        attempt = self._connection.begin_nested()
        self._bring_forward(database)
        attempt.rollback()
        refusals.require_agreed(self.report.digest, agreed)
        known = self.report.known
        self.report = RecoveryReport(self.report.evidence, known)
        recovery.move_sequences(self._connection, _with_margin(known, database.assigned.batch))
        keys = self._bring_forward(database)
        refusals.require_agreed(self.report.digest, agreed)
        self._write_cards(keys)
        return self.report

    def _survey(self) -> DatabaseMarks:
        """Take the locks of all writers, compare, and read what Redis has that the database lacks."""
        connection, report = self._connection, self.report
        continuity.exempt(connection)
        recovery.lock(connection)
        audit.lock(connection)
        card_table.lock_projector(connection)
        database = self._compare()
        if report.evidence:
            refusals.require_redis(self._setting, self._testimonies)
            self._cards = ReadCards.of(self._newer_copies(database), self._setting.now)
            report.known = highest([self._beyond_backup(database), self._known(database)])
            refusals.require_plausible(self._setting, report.known, database)
        return database

    def _bring_forward(self, database: DatabaseMarks) -> list[str]:
        """Enter again what is proven; returns the keys of the cards that follow."""
        connection, report, setting = self._connection, self.report, self._setting
        self._note_uncertain(database)
        recovery.move_revision(connection, report.known.revision)
        entry = self._append_entry(database, report.known)
        report.number = continuity.add_recovery(
            connection, at=setting.now, actor=setting.caller.name, audit_id=entry, taken_in=self._taken_in()
        )
        files = {number for testimony in self._testimonies.values() for number in testimony.files}
        proven = {number for number in self._unrecorded if number <= report.known.batch}
        with logged_changes(connection, setting.caller, setting.now, "database"):
            return self._reentry().enter(files | proven, database)

    def _record_lost(self) -> list[str]:
        with logged_changes(self._connection, self._setting.caller, self._setting.now, "database"):
            return self._reentry().record_lost()

    def _reentry(self) -> Reentry:
        return Reentry(self._connection, self._setting, self._proofs, self._cards, self.report)

    def _note_uncertain(self, database: DatabaseMarks) -> None:
        """Report what decisions nobody can prove: those that Redis would have and does not know."""
        own, last = database.assigned.audit, self.report.known.audit
        redis = self._testimonies.get("redis", Testimony(complete=False))
        shown = min((one.audit for one in redis.marks), default=0) if redis.complete else 0
        if not redis.complete or shown < max(own, last):
            self.report.uncertain_since = audit.last_time(self._connection) or self._setting.now
            self.report.uncertain_entries = (max(own, shown) + 1, last) if last > max(own, shown) else (1, 0)

    def _compare(self) -> DatabaseMarks:
        """The marks of the database; the evidence goes into the report. Raises Conflict for another installation's Redis."""
        marks = [one for testimony in self._testimonies.values() for one in testimony.marks]
        database = continuity.marks(self._connection, {one.audit for one in marks if one.audit_hash})
        believed = {
            name: one.without_forged(self._connection, database).with_proven_files(self._connection, database)
            for name, one in self._testimonies.items()
        }
        self._testimonies = refusals.sound(self._setting, believed, database)
        proofs = list(database.evidence)
        for name, testimony in self._testimonies.items():
            proofs += [proof for one in testimony.marks for proof in behind(name, one, database)]
            proofs += self._without_batch(testimony)
        if foreign([one for one in proofs if one.kind == "installation"]):
            raise refusals.conflict(
                "another-installation",
                "缓存属于另一套系统，不能作为恢复的依据",
                "this Redis belongs to another installation; nothing can be recovered from it",
            )
        self.report.evidence = tuple(dict.fromkeys(proofs))
        self._unrecorded |= set(recorded_numbers(database.evidence))
        return database

    def _without_batch(self, testimony: Testimony) -> list[BehindEvidence]:
        """The files and signed codes without a batch; the numbers of the latter are kept to be entered as lost."""
        existing = continuity.batches_with_record(self._connection, {*testimony.files, *testimony.signed})
        self._unrecorded |= {*testimony.signed} - existing
        return [
            *files_without_batch(testimony.files, existing),
            *signed_without_batch(testimony.signed, existing),
        ]

    def _newer_copies(self, database: DatabaseMarks) -> dict[str, NewerCopy]:
        """The cards of Redis that the database lost; none if Redis is silent and may be."""
        if "redis" not in self._testimonies:
            return {}
        forked = any(one.kind == "audit_hash" for one in self.report.evidence) or any(
            marks.revision < database.assigned.revision and behind("redis", marks, database)
            for marks in self._testimonies["redis"].marks
        )
        try:
            layout = client.layout(self._setting.redis)
            return survey.newer_copies(self._connection, layout, database, forked=forked)
        except RedisError as error:
            raise Unavailable(Text("缓存服务没有应答", "Redis does not answer")) from error

    def _known(self, database: DatabaseMarks) -> Marks:
        """The highest marks that anything knows of."""
        marks = [one for testimony in self._testimonies.values() for one in testimony.marks]
        files = [number for testimony in self._testimonies.values() for number in testimony.files]
        files += [card.number for card in self._cards.batches.values()]
        within = database.assigned.batch + refusals.GREATEST_JUMP  # a wrong file may be recorded, and be gone since
        files += [number for number in recorded_numbers(database.evidence) if number <= within]
        counted = Marks(
            batch=max([self._setting.above, *files]),
            revision=max([0, *(copy.revision for copy in self._cards.newer.values())]),
        )
        return highest([*marks, counted, *recorded_marks(self.report.evidence, database.assigned)])

    def _beyond_backup(self, database: DatabaseMarks) -> Marks:
        """If `zpcode restore-backup` made this database: numbers that it may have given since the backup.

        Nobody may be left who knows them. Codes of batches with such numbers then say that they cannot be confirmed.
        """
        if all(one.kind != "restored" for one in self.report.evidence):
            return Marks()
        # From the rows, but for batches: a look at what would be done moves the sequences of decisions.
        beyond = {kind: getattr(database.reached, kind) + MARGIN for kind in COUNTERS if kind != "revision"}
        return Marks(**beyond | {"batch": min(database.assigned.batch + MARGIN, MAX_BATCH)})

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

    def _write_cards(self, keys: Sequence[str]) -> None:
        """Derive the cards with these keys from the records; one card at least gets a revision above all that were lost."""
        connection = self._connection
        write_lost_cards(connection, [one.number for one in self.report.batches if one.outcome == LOST])
        write_cards(connection, keys, today(self._setting.now))
        newest, _ = integrity.newest_card(connection)
        if newest < card_table.head(connection):
            first = integrity.cards_after(connection, "", 1)
            card_table.renew(connection, [card.key for card in first])


def _with_margin(known: Marks, assigned: int) -> Marks:
    return msgspec.structs.replace(known, batch=min(max(known.batch, assigned) + MARGIN, MAX_BATCH))
