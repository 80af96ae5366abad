"""The use case: resolve a scanned code.

Raw path → parse → verify the seal → look up cards and history → verdict. No web framework, template or SQL is needed to
import this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from keys.keyring import SealVerdict
from scanweb.lookup.cards import LookupResult, ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.seals import CheckedCode, Seals
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
from zpcode.wire.verdict import Evidence, Outcome, Proof, Verdict, decide, doubted, holds_until
from zpcode.wire.vocabulary import Scope

OK: Final = 200


class CachedOutcome(msgspec.Struct):
    """The outcome that follows from a code's cards alone, from `since` until `until` (seconds) on the day `today`.

    `pages` is a cache for `ScanPages`: it holds nothing that belongs to a single code.
    """

    outcome: Outcome
    since: int
    until: int | None
    today: str
    pages: dict[Hashable, Any]

    def holds(self, now: int, today: str) -> bool:
        """Whether `decide` would return the same at `now`."""
        return self.since <= now and (self.until is None or now < self.until) and self.today == today


class Resolution(msgspec.Struct, frozen=True):
    """The result of a scan. `code` is None where the text was not a code. `at` is in seconds since 1970.

    `path` is the code's canonical path from `/01/` on, `printed` the same with the seal. `uncounted`: the view is no scan,
    but a preview, a HEAD request or a number typed by hand. `pages` is shared by all resolutions that differ only in path,
    history and time; None where this one shares it with no other.
    """

    outcome: Outcome
    evidence: Evidence
    code: Code | None
    at: int
    path: str = ""
    uncounted: bool = False
    pages: dict[Hashable, Any] | None = None
    printed: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.outcome.verdict


class Resolver:
    """Resolves codes. `clock` gives seconds since 1970; `record` takes the events of resolved scans."""

    def __init__(
        self,
        seals: Seals,
        lookup: Lookup,
        geoip: GeoIP,
        *,
        clock: Callable[[], float],
        record: Callable[[ScanEvent], None],
    ) -> None:
        self.seals, self.lookup, self.geoip = seals, lookup, geoip
        self._clock, self._record = clock, record
        self._today = (0, "")

    async def scan(self, raw_path: bytes, visitor: Visitor, language: str) -> Resolution:
        """Resolve a scanned code, given its undecoded path. Raises nothing."""
        now = self._clock()
        try:
            checked = self.seals.check(raw_path)
        except MalformedCode:
            return self._refused(Proof.MALFORMED, None, int(now))
        if checked.seal is SealVerdict.INVALID:
            return self._refused(Proof.INVALID, checked.code, int(now))
        return await self._resolve(checked, visitor, language, now)

    async def typed(self, text: str, visitor: Visitor, language: str) -> Resolution:
        """Resolve a serial or GTIN typed by hand: the verdict is never better than "seal missing". Raises nothing."""
        now = self._clock()
        identity = await self._typed_identity(text)
        if identity is None:
            return self._refused(Proof.MALFORMED, None, int(now))
        if isinstance(identity, Verdict):
            evidence = Evidence(Level.ITEM, Proof.MISSING, confirmed=identity is not Verdict.UNCONFIRMED)
            return Resolution(Outcome(identity), evidence, None, int(now))
        typed = replace(visitor, channel="typed")
        return await self._resolve(
            CheckedCode.of(Code(identity), None, identity.path), typed, language, now, typed=True
        )

    async def _typed_identity(self, text: str) -> Identity | Verdict | None:
        gtin = gtin14(text.strip()) if text.strip().isascii() else None
        if gtin is not None:
            return Identity(gtin)
        serial = typed_serial(text)
        try:
            parsed = Serial.parse(serial[:SERIAL_LENGTH])
            check = serial_number(serial[SERIAL_LENGTH:]) if len(serial) == COMPACT_LENGTH else None
        except ValueError:
            return None
        if len(serial) not in {SERIAL_LENGTH, COMPACT_LENGTH}:
            return None
        try:
            batch = await self.lookup.batch(parsed.batch)
        except Unavailable:
            return Verdict.UNCONFIRMED
        if batch is not None and not batch.gtin:  # its record is lost
            return Verdict.UNCONFIRMED
        return Verdict.UNKNOWN if batch is None else Identity(batch.gtin, serial=parsed, check=check)

    async def _resolve(
        self, checked: CheckedCode, visitor: Visitor, language: str, now: float, *, typed: bool = False
    ) -> Resolution:
        code, second = checked.code, int(now)
        counts = (
            code.identity.serial is not None
            and (checked.seal is not None or (code.identity.check is not None and not typed))
            and is_person(visitor.channel)
            and visitor.recorded
        )
        city = self.geoip.city(visitor.network)
        result = await self.lookup.find(checked, ScanRequest(second, visitor.mark, city, counts))
        evidence = _evidence(checked, result, second, typed=typed)
        is_doubted = result.confirmed and self.lookup.memory.doubted
        if is_doubted:
            evidence = await self._with_database(checked, evidence, second, typed=typed)
        cached = self._outcome(result, evidence, second, alone=is_doubted)
        resolution = Resolution(
            cached.outcome,
            evidence,
            code,
            second,
            checked.path,
            not counts,
            cached.pages,
            checked.printed,
        )
        # Unconfirmed unsealed codes are not recorded: anyone can invent them.
        plausible = result.confirmed or checked.seal is not None or result.index is not None
        if cached.outcome.verdict.http_status == OK and plausible and visitor.recorded:
            self._record_scan(resolution, result, visitor, language, city, now)
        return resolution

    async def _with_database(self, checked: CheckedCode, evidence: Evidence, now: int, *, typed: bool) -> Evidence:
        """The evidence from Redis with that of the database, while a witness disagrees with the database."""
        try:
            result = await self.lookup.recorded(checked, now)
        except Unavailable:
            recorded = None
        else:
            recorded = _evidence(checked, result, now, typed=typed)
        return doubted(evidence, recorded, now=now, today=self._date(now))

    def _outcome(self, result: LookupResult, evidence: Evidence, now: int, *, alone: bool) -> CachedOutcome:
        """The outcome, decided once for all codes with the same cards, unless it may be about this item `alone`."""
        cards, today = result.cards, self._date(now)
        batch = cards.batch
        alone = alone or result.own is not None or not result.confirmed or (batch is not None and batch.ranges != ())
        key = (evidence.level, evidence.proof, evidence.key_revoked, evidence.index is None)
        cached: CachedOutcome | None = None if alone else cards.outcomes.get(key)
        if cached is None or not cached.holds(now, today):
            outcome = decide(evidence, now=now, today=today)
            cached = CachedOutcome(outcome, now, holds_until(evidence, now), today, {})
            if not alone:
                cards.outcomes[key] = cached
        return cached

    def _refused(self, proof: Proof, code: Code | None, now: int) -> Resolution:
        level = Level.PRODUCT if code is None else code.identity.level
        evidence = Evidence(level, proof, confirmed=True)
        return Resolution(decide(evidence, now=now, today=""), evidence, code, now)

    def _record_scan(
        self, resolution: Resolution, result: LookupResult, visitor: Visitor, language: str, city: str, now: float
    ) -> None:
        """Hand the scan to `record`, for the statistics."""
        evidence = resolution.evidence
        identity, batch = cast("Code", resolution.code).identity, evidence.batch
        self._record(
            ScanEvent(
                int(now * 1000),
                identity.gtin,
                identity.lot or ("" if batch is None else batch.lot),
                None if batch is None else batch.number,
                evidence.index,
                resolution.outcome.verdict.value,
                city,
                visitor.network,
                visitor.mark,
                language,
                visitor.channel,
                result.counted,
            )
        )

    def _date(self, now: int) -> str:
        """The date in Shanghai, computed once a day."""
        day = (now + SHANGHAI_SECONDS) // 86400
        if day != self._today[0]:
            self._today = day, date_at(now)
        return self._today[1]


def _evidence(checked: CheckedCode, result: LookupResult, now: int, *, typed: bool) -> Evidence:
    cards = result.cards
    timelines = cards.timelines if result.own is None else ((Scope.CODE, result.own), *cards.timelines)
    return Evidence(
        checked.level,
        _proof(checked, cards.batch, typed=typed),
        result.confirmed,
        checked.seal is SealVerdict.REVOKED or (cards.keys != () and cards.key_revoked(now)),
        cards.product,
        cards.batch,
        cards.lot,
        result.index,
        timelines,
        result.history,
    )


def _proof(checked: CheckedCode, batch: BatchCard | None, *, typed: bool) -> Proof:
    """What the code itself proves. The check of a compact code needs a secret in the card of a compact batch."""
    if checked.seal is not None:
        return Proof.SEALED
    identity = checked.code.identity
    if identity.check is None:
        return Proof.MISSING
    if batch is not None and not batch.lost and not check_matches(batch.check_key, identity):
        return Proof.INVALID
    return Proof.MISSING if typed else Proof.ONLINE
