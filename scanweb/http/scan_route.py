"""The scan route: a plain ASGI callable, because a scan must cost little more than the server itself.

It reads the raw path, never a decoded one. Every path that does not belong to `scanweb.http.site` is a scan. So a mistyped
code gets the same page as every other code that was not issued here.
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
from scanweb.http.responses import HTML, JSON, WHOLE_RESPONSE, refuse_method, respond, whole
from scanweb.metrics.meters import ScanCounters
from scanweb.page.html import ScanPages
from scanweb.page.json import JsonBodies
from scanweb.scan.resolver import OK, Resolution, Resolver
from scanweb.visits import visitors
from scanweb.visits.visitors import ClientAddresses, Salts, Visitor
from zpcode.language.negotiation import Languages, takes_gzip, wants_json
from zpcode.wire.verdict import Proof

_LOG = logging.getLogger(__name__)

_UNSEALED: Final = b"/01/"
TOO_MANY: Final = 429
_METHODS: Final = frozenset({"GET", "HEAD"})


class ScanRoute:
    """Responds to scans. `floor` is the minimum time in seconds of a response that is not verified."""

    def __init__(
        self,
        resolver: Resolver,
        pages: ScanPages,
        bodies: JsonBodies,
        *,
        addresses: ClientAddresses,
        salts: Salts,
        rate_limits: ScanRateLimits,
        clock: Callable[[], float],
        floor: float,
    ) -> None:
        self.resolver, self.pages, self.bodies = resolver, pages, bodies
        self.languages = languages = Languages(tuple(pages.texts))
        self._language_headers = {
            (tag, zipped): _language_headers(tag, zipped=zipped) for tag in languages.tags for zipped in (False, True)
        }
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
        if not seconds and path.startswith(_UNSEALED):  # checked first: an address without guesses costs no lookup
            seconds = self.rate_limits.check_guess(address, arrived)
        if seconds:
            await self._refuse(seconds, request, language, scope, send)
            return
        try:
            resolution = await self.resolver.scan(path, self.visitor(address, request, arrived), language)
            if not _is_proved(resolution) and (seconds := self.rate_limits.spend_guess(address, arrived)):
                await self._refuse(seconds, request, language, scope, send)
                return
            await self._send(resolution, request, language, arrived, scope, send)
        except Exception:  # noqa: BLE001 - an error here must not look like a verdict on the code
            await self._failed(request, language, scope, send)

    async def typed(self, scope: Scope, send: Send, text: str) -> None:
        """Respond to a number typed at /q."""
        arrived = time.monotonic()
        request = Request.read(scope)
        language = self.languages.choose(request.asked_language, request.languages)
        address = self._address(scope, request)
        seconds = self.rate_limits.spend_guess(address, arrived)
        if seconds:
            await self._refuse(seconds, request, language, scope, send)
            return
        try:
            resolution = await self.resolver.typed(text, self.visitor(address, request, arrived), language)
            await self._send(resolution, request, language, arrived, scope, send, text)
        except Exception:  # noqa: BLE001 - as with a scan
            await self._failed(request, language, scope, send)

    async def _failed(self, request: Request, language: str, scope: Scope, send: Send) -> None:
        _LOG.exception("a scan failed")
        self.meters.errors += 1
        page = self.pages.error(language, large=request.large)
        await respond(scope, send, 500, HTML, page.plain(()), more=self._language_headers[language, False])

    async def refuse_over_limit(self, scope: Scope, send: Send) -> bool:
        """Spend one request that is not a scan. True if it is over the limit: then the refusal has been sent."""
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

    async def _send(
        self,
        resolution: Resolution,
        request: Request,
        language: str,
        arrived: float,
        scope: Scope,
        send: Send,
        typed: str = "",
    ) -> None:
        """Send a resolution. One that is not verified waits for the floor, so that its time does not tell the cause."""
        as_json = wants_json(request.accept, request.asked_format)
        zipped = not as_json and takes_gzip(request.encodings)
        if as_json:
            body = [self.bodies.body(resolution, language)]
        else:
            page, values = self.pages.scan(resolution, language, typed, large=request.large)
            body = page.gzipped(values) if zipped else page.plain(values)
        verdict = resolution.outcome.verdict
        status = verdict.http_status
        if status != OK:
            await asyncio.sleep(arrived + self._floor - time.monotonic())
        kind = JSON if as_json else HTML
        # HEAD is not counted, so it cannot know how long the page of the next scan will be (RFC 9110, 8.6).
        sized = scope["method"] == "GET" or status != OK or not resolution.evidence.level.is_item
        self.meters.answered(verdict, time.monotonic() - arrived)
        if WHOLE_RESPONSE in scope.get("extensions", ()):
            await send(whole(scope, status, kind, body, self._language_headers[language, zipped], sized=sized))
        else:
            await respond(scope, send, status, kind, body, more=self._language_headers[language, zipped], sized=sized)

    def _address(self, scope: Scope, request: Request) -> bytes:
        client = scope.get("client")
        return self._addresses.client_of(client[0] if client else None, request.forwarded)

    def visitor(self, address: bytes, request: Request, now: float) -> Visitor:
        """The visitor of a request at `now` (monotonic seconds). Of the address only the cut network is passed on."""
        recorded = self.rate_limits.spend_record(address, now)
        if not recorded:
            self.meters.unrecorded += 1
        mark = visitors.mark(self._salts.current(self._clock()), address, request.agent, request.languages)
        return Visitor(visitors.network(address), _channel(request), mark, recorded)


def _language_headers(language: str, *, zipped: bool) -> Headers:
    headers: Headers = ((b"content-language", language.encode("ascii")),)
    return (*headers, (b"content-encoding", b"gzip")) if zipped else headers


def _is_proved(resolution: Resolution) -> bool:
    """Whether the code proves where it comes from. Every other resolution can be reached by guessing codes."""
    proof = resolution.evidence.proof
    return proof is Proof.SEALED or (proof is Proof.ONLINE and resolution.outcome.verdict.http_status == OK)


def _channel(request: Request) -> str:
    if request.method == "HEAD":
        return "head"
    if request.purpose and visitors.is_prefetch(request.purpose):
        return "prefetch"
    if request.embedded:
        return "embedded"
    return visitors.channel_of(request.agent)
