"""The use case: what a consumer is told of a code.

Raw path → parse → verify the seal → what is known of it → verdict. No web framework, no templates, no SQL
are needed to import this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, cast

import msgspec

from keys.keyring import SealVerdict
from scanweb.lookup.cards import Known, ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.seals import Checked, Seals
from scanweb.visits.geoip import GeoIP
from scanweb.visits.visitors import Visitor, is_person
from zpcode.errors import MalformedCode, Unavailable
from zpcode.wire.base32 import serial_number, typed_serial
from zpcode.wire.calendar import SHANGHAI_SECONDS, date_at
from zpcode.wire.card import BatchCard
from zpcode.wire.gs1 import gtin14
from zpcode.wire.payload import (
    COMPACT_LENGTH,
    SERIAL_LENGTH,
    Code,
    Identity,
    Level,
    Serial,
    check_matches,
)
from zpcode.wire.scan_event import ScanEvent
from zpcode.wire.verdict import Evidence, Outcome, Proof, Verdict, decide, holds_until
from zpcode.wire.vocabulary import Scope

OK: Final = 200


class Settled(msgspec.Struct):
    """What follows from a code's cards alone, from `since` until `until` (seconds) on the day `today`.

    `rendered` is room for whoever shows it: nothing in it is of a single code.
    """

    finding: Outcome
    since: int
    until: int | None
    today: str
    rendered: dict[Hashable, Any]

    def holds(self, now: int, today: str) -> bool:
        """Whether it is still, or already, what `decide` would say."""
        return self.since <= now and (self.until is None or now < self.until) and self.today == today


class ScanAnswer(msgspec.Struct, frozen=True):
    """What a scan found. `code` is None where the text was none. `at` is in seconds since 1970.

    `path` is the code's canonical path from `/01/` on, `printed` the same with its seal. `looking` says that nobody
    scanned just now: a preview, a HEAD request, a number typed by hand. `rendered` is shared by all answers that differ in
    nothing but path, history and time; None where this one stands alone.
    """

    finding: Outcome
    evidence: Evidence
    code: Code | None
    at: int
    path: str = ""
    looking: bool = False
    rendered: dict[Hashable, Any] | None = None
    printed: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.finding.verdict


class Resolver:
    """Answers scans. `clock` gives seconds since 1970; `record` takes the scans that were answered."""

    def __init__(
        self,
        seals: Seals,
        lookup: Lookup,
        places: GeoIP,
        *,
        clock: Callable[[], float],
        record: Callable[[ScanEvent], None],
    ) -> None:
        self.seals, self.lookup, self.places = seals, lookup, places
        self._clock, self._record = clock, record
        self._today = (0, "")

    async def scan(self, raw_path: bytes, visitor: Visitor, language: str) -> ScanAnswer:
        """The answer to a scanned code, given its undecoded path. Raises nothing."""
        now = self._clock()
        try:
            checked = self.seals.check(raw_path)
        except MalformedCode:
            return self._refused(Proof.MALFORMED, None, int(now))
        if checked.seal is SealVerdict.INVALID:
            return self._refused(Proof.INVALID, checked.code, int(now))
        return await self._answer(checked, visitor, language, now)

    async def typed(self, text: str, visitor: Visitor, language: str) -> ScanAnswer:
        """The answer to a serial or GTIN typed by hand: never better than "seal missing". Raises nothing."""
        now = self._clock()
        identity = await self._typed_identity(text)
        if identity is None:
            return self._refused(Proof.MALFORMED, None, int(now))
        if isinstance(identity, Verdict):
            evidence = Evidence(Level.ITEM, Proof.MISSING, confirmed=identity is not Verdict.UNCONFIRMED)
            return ScanAnswer(Outcome(identity), evidence, None, int(now))
        typed = Visitor(visitor.network, "typed", visitor.mark)
        return await self._answer(Checked.of(Code(identity), None, identity.path), typed, language, now, typed=True)

    async def _typed_identity(self, text: str) -> Identity | Verdict | None:
        gtin = gtin14(text.strip()) if text.strip().isascii() else None
        if gtin is not None:
            return Identity(gtin)
        serial = typed_serial(text)
        try:
            found = Serial.parse(serial[:SERIAL_LENGTH])
            check = serial_number(serial[SERIAL_LENGTH:]) if len(serial) == COMPACT_LENGTH else None
        except ValueError:
            return None
        if len(serial) not in {SERIAL_LENGTH, COMPACT_LENGTH}:
            return None
        try:
            batch = await self.lookup.batch(found.batch)
        except Unavailable:
            return Verdict.UNCONFIRMED
        return Verdict.UNKNOWN if batch is None else Identity(batch.gtin, serial=found, check=check)

    async def _answer(
        self, checked: Checked, visitor: Visitor, language: str, now: float, *, typed: bool = False
    ) -> ScanAnswer:
        code, second = checked.code, int(now)
        counts = (
            code.identity.serial is not None
            and (checked.seal is not None or (code.identity.check is not None and not typed))
            and is_person(visitor.channel)
        )
        city = self.places.city(visitor.network)
        known = await self.lookup.find(checked, ScanRequest(second, visitor.mark, city, counts))
        evidence = _evidence(checked, known, second, typed=typed)
        settled = self._settled(known, evidence, second)
        answer = ScanAnswer(
            settled.finding,
            evidence,
            code,
            second,
            checked.path,
            not counts,
            settled.rendered,
            checked.printed,
        )
        # Without any of these anybody can have made it up.
        ours = known.confirmed or checked.seal is not None or known.index is not None
        if settled.finding.verdict.http_status == OK and ours:
            self._note(answer, known, visitor, language, city, now)
        return answer

    def _settled(self, known: Known, evidence: Evidence, now: int) -> Settled:
        """The verdict: worked out once for all codes with the same cards, unless this item has a say of its own."""
        cards, today = known.cards, self._date(now)
        batch = cards.batch
        alone = known.own is not None or not known.confirmed or (batch is not None and batch.ranges != ())
        key = (evidence.level, evidence.proof, evidence.key_revoked, evidence.index is None)
        settled: Settled | None = None if alone else cards.settled.get(key)
        if settled is None or not settled.holds(now, today):
            finding = decide(evidence, now=now, today=today)
            settled = Settled(finding, now, holds_until(evidence, now), today, {})
            if not alone:
                cards.settled[key] = settled
        return settled

    def _refused(self, proof: Proof, code: Code | None, now: int) -> ScanAnswer:
        level = Level.PRODUCT if code is None else code.identity.level
        evidence = Evidence(level, proof, confirmed=True)
        return ScanAnswer(decide(evidence, now=now, today=""), evidence, code, now)

    def _note(self, answer: ScanAnswer, known: Known, visitor: Visitor, language: str, city: str, now: float) -> None:
        """Send the scan on its way to the statistics; not of what is none of ours, which anyone can make any number of."""
        evidence = answer.evidence
        identity, batch = cast("Code", answer.code).identity, evidence.batch
        self._record(
            ScanEvent(
                int(now * 1000),
                identity.gtin,
                identity.lot or ("" if batch is None else batch.lot),
                None if batch is None else batch.number,
                evidence.index,
                answer.finding.verdict.value,
                city,
                visitor.network,
                visitor.mark,
                language,
                visitor.channel,
                known.counted,
            )
        )

    def _date(self, now: int) -> str:
        """Today in Shanghai, worked out once a day."""
        day = (now + SHANGHAI_SECONDS) // 86400
        if day != self._today[0]:
            self._today = day, date_at(now)
        return self._today[1]


def _evidence(checked: Checked, known: Known, now: int, *, typed: bool) -> Evidence:
    cards = known.cards
    timelines = cards.timelines if known.own is None else ((Scope.CODE, known.own), *cards.timelines)
    return Evidence(
        checked.level,
        _proof(checked, cards.batch, typed=typed),
        known.confirmed,
        checked.seal is SealVerdict.REVOKED or (cards.keys != () and cards.key_revoked(now)),
        cards.product,
        cards.batch,
        cards.lot,
        known.index,
        timelines,
        known.history,
    )


def _proof(checked: Checked, batch: BatchCard | None, *, typed: bool) -> Proof:
    """What the code itself proves. A compact code's check is a secret of its batch, so the batch must be known."""
    if checked.seal is not None:
        return Proof.SEALED
    identity = checked.code.identity
    if identity.check is None:
        return Proof.MISSING
    if batch is not None and not check_matches(batch.check_key, identity):
        return Proof.INVALID
    return Proof.MISSING if typed else Proof.ONLINE
