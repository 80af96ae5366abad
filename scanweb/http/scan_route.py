"""The scan route: a plain ASGI callable, because a scan must cost little more than the server itself.

It reads the raw path, never a decoded one. Everything that does not belong to `scanweb.http.site` is a scan, so a
mistyped code gets the answer every code gets that is not ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from scanweb.http.exchange import Headers, Receive, Request, Scope, Send
from scanweb.http.rate_limits import ScanRateLimits
from scanweb.http.refusals import Refusals
from scanweb.http.responses import ANSWER, HTML, JSON, refuse_method, respond, whole
from scanweb.metrics.meters import ScanCounters
from scanweb.page.html import ScanPages
from scanweb.page.json import JsonAnswers
from scanweb.scan.resolver import OK, Resolver, ScanAnswer
from scanweb.visits import visitors
from scanweb.visits.visitors import ClientAddresses, Salts, Visitor
from zpcode.language.negotiation import Languages, takes_gzip, wants_json
from zpcode.wire.verdict import Proof

_LOG = logging.getLogger(__name__)

_UNSEALED: Final = b"/01/"
TOO_MANY: Final = 429
_METHODS: Final = frozenset({"GET", "HEAD"})


class ScanRoute:
    """Answers scans. `floor` is the least number of seconds a not-verified answer takes."""

    def __init__(
        self,
        resolver: Resolver,
        pages: ScanPages,
        answers: JsonAnswers,
        *,
        addresses: ClientAddresses,
        salts: Salts,
        rate_limits: ScanRateLimits,
        clock: Callable[[], float],
        floor: float,
    ) -> None:
        self.resolver, self.pages, self.answers = resolver, pages, answers
        self.languages = languages = Languages(tuple(pages.texts))
        self._tongues = {(tag, zipped): _told(tag, zipped=zipped) for tag in languages.tags for zipped in (False, True)}
        self.meters = ScanCounters()
        self.refusals = Refusals(pages, pages.texts)
        self.rate_limits = rate_limits
        self._addresses, self._salts, self._clock, self._floor = addresses, salts, clock, floor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        del receive  # a scan has no body
        if scope["method"] not in _METHODS:
            await refuse_method(scope["method"], send)
            return
        arrived = time.monotonic()
        request = Request.read(scope)
        language = self.languages.choose(request.asked_language, request.languages)
        path, address = scope["raw_path"], self._address(scope, request)
        seconds = self.rate_limits.spend_scan(address, arrived)
        if not seconds and path.startswith(
            _UNSEALED
        ):  # decided before anything is read: an address without guesses costs no lookup
            seconds = self.rate_limits.check_guess(address, arrived)
        if seconds:
            await self._refuse(seconds, request, language, scope, send)
            return
        try:
            answer = await self.resolver.scan(path, self.visitor(address, request), language)
            if not _is_proved(answer) and (seconds := self.rate_limits.spend_guess(address, arrived)):
                await self._refuse(seconds, request, language, scope, send)
                return
            await self.tell(answer, request, language, arrived, scope, send)
        except Exception:  # noqa: BLE001 - a defect of ours must not look like a finding about the code
            await self._failed(request, language, scope, send)

    async def typed(self, scope: Scope, send: Send, text: str) -> None:
        """The answer to a number typed at /q."""
        arrived = time.monotonic()
        request = Request.read(scope)
        language = self.languages.choose(request.asked_language, request.languages)
        address = self._address(scope, request)
        seconds = self.rate_limits.spend_guess(address, arrived)
        if seconds:
            await self._refuse(seconds, request, language, scope, send)
            return
        try:
            answer = await self.resolver.typed(text, self.visitor(address, request), language)
            await self.tell(answer, request, language, arrived, scope, send, text)
        except Exception:  # noqa: BLE001 - as with a scan
            await self._failed(request, language, scope, send)

    async def _failed(self, request: Request, language: str, scope: Scope, send: Send) -> None:
        _LOG.exception("a scan failed")
        self.meters.errors += 1
        page = self.pages.error(language, large=request.large)
        await respond(scope, send, 500, HTML, page.plain(()), more=self._tongues[language, False])

    async def refuse_over_limit(self, scope: Scope, send: Send) -> bool:
        """Take one request that is not a scan; True if it is over the limit, then the refusal has been sent."""
        request = Request.read(scope)
        seconds = self.rate_limits.spend_scan(self._address(scope, request), time.monotonic())
        if seconds:
            language = self.languages.choose(request.asked_language, request.languages)
            await self._refuse(seconds, request, language, scope, send)
        return bool(seconds)

    async def _refuse(self, seconds: int, request: Request, language: str, scope: Scope, send: Send) -> None:
        self.meters.refused += 1
        as_json = wants_json(request.accept, request.asked_format)
        body = [self.refusals.body(TOO_MANY, language, as_json=as_json, large=request.large)]
        more = ((b"content-language", language.encode("ascii")), (b"retry-after", b"%d" % seconds))
        await respond(scope, send, TOO_MANY, JSON if as_json else HTML, body, more=more)

    async def tell(
        self,
        answer: ScanAnswer,
        request: Request,
        language: str,
        arrived: float,
        scope: Scope,
        send: Send,
        typed: str = "",
    ) -> None:
        """Send an answer; one that is not verified no earlier than the floor, so that its time says nothing."""
        as_json = wants_json(request.accept, request.asked_format)
        zipped = not as_json and takes_gzip(request.encodings)
        if as_json:
            body = [self.answers.answer(answer, language)]
        else:
            page, values = self.pages.answer(answer, language, typed, large=request.large)
            body = page.gzipped(values) if zipped else page.plain(values)
        verdict = answer.finding.verdict
        status = verdict.http_status
        if status != OK:
            await asyncio.sleep(arrived + self._floor - time.monotonic())
        kind = JSON if as_json else HTML
        # Only a GET would have been the next scan: how long its answer had been, HEAD cannot know (RFC 9110, 8.6).
        sized = scope["method"] == "GET" or status != OK or not answer.evidence.level.is_item
        self.meters.answered(verdict, time.monotonic() - arrived)
        if ANSWER in scope.get("extensions", ()):
            await send(whole(scope, status, kind, body, self._tongues[language, zipped], sized=sized))
        else:
            await respond(scope, send, status, kind, body, more=self._tongues[language, zipped], sized=sized)

    def _address(self, scope: Scope, request: Request) -> bytes:
        client = scope.get("client")
        return self._addresses.client_of(client[0] if client else None, request.forwarded)

    def visitor(self, address: bytes, request: Request) -> Visitor:
        """Who is looking; of the address only the cut network goes any further."""
        network = visitors.network(address)
        mark = visitors.mark(self._salts.current(self._clock()), network, request.agent, request.languages)
        return Visitor(network, _channel(request), mark)


def _told(language: str, *, zipped: bool) -> Headers:
    told: Headers = ((b"content-language", language.encode("ascii")),)
    return (*told, (b"content-encoding", b"gzip")) if zipped else told


def _is_proved(answer: ScanAnswer) -> bool:
    """Whether the code itself proves what the answer says; all else can be had by guessing."""
    proof = answer.evidence.proof
    return proof is Proof.SEALED or (proof is Proof.ONLINE and answer.finding.verdict.http_status == OK)


def _channel(request: Request) -> str:
    if request.method == "HEAD":
        return "head"
    if request.purpose and visitors.is_prefetch(request.purpose):
        return "prefetch"
    return visitors.channel_of(request.agent)
