"""The use case: what a consumer is told of a code.

Raw path → parse → verify the seal → what is known of it → verdict. No web framework, no templates, no SQL
are needed to import this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from keys.keyring import SealVerdict
from scanweb.lookup import Known, Lookup, Viewing
from scanweb.places import Places
from scanweb.seals import Checked, Seals
from scanweb.visitors import Visitor, is_person
from zpcode.errors import MalformedCode, Unavailable
from zpcode.wire.base32 import serial_number, typed_serial
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
from zpcode.wire.scan_event import ScanEvent, encode
from zpcode.wire.verdict import Evidence, Finding, Proof, Verdict, decide

OK: Final = 200
SHANGHAI: Final = timezone(timedelta(hours=8))  # no summer time since 1991


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scan found. `code` is None where the text was none. `at` is in seconds since 1970.

    `path` is the code's canonical path from `/01/` on. `looking` says that nobody scanned just now: a
    preview, a HEAD request, a number typed by hand.
    """

    finding: Finding
    evidence: Evidence
    code: Code | None
    at: int
    path: str = ""
    looking: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.finding.verdict


class Resolver:
    """Answers scans. `clock` gives seconds since 1970; `record` takes the encoded scan events."""

    def __init__(
        self,
        seals: Seals,
        lookup: Lookup,
        places: Places,
        *,
        clock: Callable[[], float],
        record: Callable[[bytes], None],
    ) -> None:
        self.seals, self.lookup, self.places = seals, lookup, places
        self._clock, self._record = clock, record
        self._today = (0, "")

    async def scan(self, raw_path: bytes, visitor: Visitor, language: str) -> Answer:
        """The answer to a scanned code, given its undecoded path. Raises nothing."""
        now = self._clock()
        try:
            checked = self.seals.check(raw_path)
        except MalformedCode:
            return self._refused(Proof.MALFORMED, None, int(now))
        if checked.seal is SealVerdict.INVALID:
            return self._refused(Proof.INVALID, checked.code, int(now))
        return await self._answer(checked, visitor, language, now)

    async def typed(self, text: str, visitor: Visitor, language: str) -> Answer:
        """The answer to a serial or GTIN typed by hand: never better than "seal missing". Raises nothing."""
        now = self._clock()
        identity = await self._typed_identity(text)
        if identity is None:
            return self._refused(Proof.MALFORMED, None, int(now))
        if isinstance(identity, Verdict):
            evidence = Evidence(Level.ITEM, Proof.MISSING, confirmed=identity is not Verdict.UNCONFIRMED)
            return Answer(Finding(identity), evidence, None, int(now))
        typed = Visitor(visitor.network, "typed", visitor.mark)
        return await self._answer(Checked(Code(identity), None), typed, language, now, typed=True)

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
    ) -> Answer:
        code = checked.code
        provable = checked.seal is not None or (code.identity.check is not None and not typed)
        counts = provable and code.identity.serial is not None and is_person(visitor.channel)
        city = self.places.city(visitor.network) if counts else ""
        known = await self.lookup.find(checked, Viewing(int(now), visitor.mark.hex(), city, counts))
        evidence = _evidence(checked, known, typed=typed)
        answer = Answer(
            decide(evidence, now=int(now), today=self._date(int(now))),
            evidence,
            code,
            int(now),
            checked.path,
            not counts,
        )
        self._note(answer, known, visitor, language, now)
        return answer

    def _refused(self, proof: Proof, code: Code | None, now: int) -> Answer:
        level = Level.PRODUCT if code is None else code.identity.level
        evidence = Evidence(level, proof, confirmed=True)
        return Answer(decide(evidence, now=now, today=""), evidence, code, now)

    def _note(self, answer: Answer, known: Known, visitor: Visitor, language: str, now: float) -> None:
        """Send the scan on its way to the statistics; not of what is none of ours, which anyone can make any number of."""
        if answer.code is None or answer.verdict.http_status != OK:
            return
        identity = answer.code.identity
        event = ScanEvent(
            at_ms=int(now * 1000),
            gtin=identity.gtin,
            lot=identity.lot or ("" if known.batch is None else known.batch.lot),
            batch=None if known.batch is None else known.batch.number,
            index=known.index,
            verdict=answer.verdict.value,
            city=self.places.city(visitor.network),
            network=visitor.network,
            visitor=visitor.mark,
            language=language,
            channel=visitor.channel,
            counted=known.counted,
        )
        self._record(encode(event))

    def _date(self, now: int) -> str:
        """Today in Shanghai, worked out once a day."""
        day = (now + 8 * 3600) // 86400
        if day != self._today[0]:
            self._today = day, datetime.fromtimestamp(now, UTC).astimezone(SHANGHAI).date().isoformat()
        return self._today[1]


def _evidence(checked: Checked, known: Known, *, typed: bool) -> Evidence:
    return Evidence(
        level=checked.code.identity.level,
        proof=_proof(checked, known, typed=typed),
        confirmed=known.confirmed,
        key_revoked=known.key_revoked or checked.seal is SealVerdict.REVOKED,
        product=known.product,
        batch=known.batch,
        lot=known.lot,
        index=known.index,
        timelines=known.timelines,
        history=known.history,
    )


def _proof(checked: Checked, known: Known, *, typed: bool) -> Proof:
    """What the code itself proves. A compact code's check is a secret of its batch, so the batch must be known."""
    if checked.seal is not None:
        return Proof.SEALED
    identity = checked.code.identity
    if identity.check is None:
        return Proof.MISSING
    if known.batch is not None and not check_matches(known.batch.check_key, identity):
        return Proof.INVALID
    return Proof.MISSING if typed else Proof.ONLINE
