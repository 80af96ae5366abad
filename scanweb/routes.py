"""The scan route: a plain ASGI callable, because a scan must cost little more than the server itself.

It reads the raw path, never a decoded one. Everything that does not belong to `scanweb.site` is a scan, so a
mistyped code gets the answer every code gets that is not ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from scanweb import sheet, visitors
from scanweb.answers import Answers
from scanweb.hurry import Hurry
from scanweb.meters import Meters
from scanweb.pages import Pages
from scanweb.refusals import Refusals
from scanweb.resolve import OK, Answer, Resolver
from scanweb.texts import Languages, takes_gzip, wants_json
from scanweb.visitors import Addresses, Salts, Visitor
from zpcode.wire.verdict import Proof

_LOG = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

ANSWER: Final = "zpcode.answer"
"""An ASGI extension and its message (`scanweb.server`): a whole answer at once. `head` is status line and headers,
each with its line break; `body` a list of pieces."""
HTML: Final = b"text/html; charset=utf-8"
JSON: Final = b"application/json"
FIXED: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", sheet.POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"vary", b"Accept, Accept-Language, Accept-Encoding"),
    (b"access-control-allow-origin", b"*"),
    (b"link", b'<?format=json>; rel="alternate"; type="application/json"'),
)
_UNSEALED: Final = b"/01/"
TOO_MANY: Final = 429
_METHODS: Final = frozenset({"GET", "HEAD"})
_ALLOW: Final = (b"allow", b"GET, HEAD, OPTIONS")
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Accept, Accept-Language"),
    (b"access-control-max-age", b"86400"),
)


class Request(msgspec.Struct):
    """What matters of a request: headers by name, the language and form it asks for."""

    method: str
    agent: str = ""
    accept: str = ""
    languages: str = ""
    encodings: str = ""
    purpose: str = ""
    forwarded: tuple[str, ...] = ()
    asked_language: str = ""
    asked_format: str = ""
    large: bool = False

    @classmethod
    def read(cls, scope: Scope) -> Request:
        """Out of an ASGI scope. Header bytes are read as Latin-1 (RFC 9110, section 5.5), at most 512 of each.

        What comes here is searched and remembered, and a server may let headers of any length pass.
        """
        request = cls(scope["method"])
        for name, value in scope["headers"]:
            if name in _READ:
                request._read_header(name, value)
        if scope["query_string"]:
            request._read_query(scope["query_string"])
        return request

    def _read_header(self, name: bytes, value: bytes) -> None:
        if name == b"user-agent":
            self.agent = value[:HEADER_BYTES].decode("latin-1")
        elif name == b"accept":
            self.accept = value[:HEADER_BYTES].decode("latin-1")
        elif name == b"accept-language":
            self.languages = value[:HEADER_BYTES].decode("latin-1")
        elif name == b"accept-encoding":
            self.encodings = value[:HEADER_BYTES].decode("latin-1")
        elif name == b"x-forwarded-for":
            self.forwarded += (value[-HEADER_BYTES:].decode("latin-1"),)  # the right-most address counts
        else:
            self.purpose = (self.purpose + value[:HEADER_BYTES].decode("latin-1"))[:HEADER_BYTES]

    def _read_query(self, query: bytes) -> None:
        try:
            values = parse_qs(query[:2048].decode("ascii", "replace"), max_num_fields=16)
        except ValueError:
            return
        self.asked_language = values.get("lang", [""])[0]
        self.asked_format = values.get("format", [""])[0]
        self.large = values.get("size") == ["large"]


HEADER_BYTES: Final = 512
_READ: Final = frozenset(
    {
        b"user-agent",
        b"accept",
        b"accept-language",
        b"accept-encoding",
        b"x-forwarded-for",
        b"purpose",
        b"sec-purpose",
        b"x-purpose",
        b"x-moz",
    }
)


class ScanRoute:
    """Answers scans. `floor` is the least number of seconds a not-verified answer takes."""

    def __init__(
        self,
        resolver: Resolver,
        pages: Pages,
        answers: Answers,
        languages: Languages,
        *,
        addresses: Addresses,
        salts: Salts,
        clock: Callable[[], float],
        floor: float,
    ) -> None:
        self.resolver, self.pages, self.answers, self.languages = resolver, pages, answers, languages
        self._tongues = {(tag, zipped): _told(tag, zipped=zipped) for tag in languages.tags for zipped in (False, True)}
        self.meters = Meters()
        self.refusals = Refusals(pages, pages.texts)
        self.hurry = Hurry(0, 0)  # no limits before they are set
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
        seconds = self.hurry.wait(address, arrived)
        if not seconds and path.startswith(_UNSEALED):  # no need to look anything up for who is out of guesses
            seconds = self.hurry.guessing(address, arrived)
        if seconds:
            await self._refuse(seconds, request, language, scope, send)
            return
        try:
            answer = await self.resolver.scan(path, self.visitor(address, request), language)
            if not _is_proved(answer) and (seconds := self.hurry.guessed(address, arrived)):
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
        seconds = self.hurry.guessed(address, arrived)
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

    async def holds(self, scope: Scope, send: Send) -> bool:
        """Whether who asks for something that is not a scan has to wait; then it has been told so."""
        request = Request.read(scope)
        seconds = self.hurry.wait(self._address(scope, request), time.monotonic())
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
        self, answer: Answer, request: Request, language: str, arrived: float, scope: Scope, send: Send, typed: str = ""
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
            await send(_whole(scope, status, kind, body, self._tongues[language, zipped], sized=sized))
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


def _is_proved(answer: Answer) -> bool:
    """Whether the code itself proves what the answer says; all else can be had by guessing."""
    proof = answer.evidence.proof
    return proof is Proof.SEALED or (proof is Proof.ONLINE and answer.finding.verdict.http_status == OK)


def _channel(request: Request) -> str:
    if request.method == "HEAD":
        return "head"
    if request.purpose and visitors.is_prefetch(request.purpose):
        return "prefetch"
    return visitors.channel_of(request.agent)


@lru_cache(maxsize=256)
def _head(status: int, kind: bytes, more: Headers) -> bytes:
    """Status line and headers of an answer up to the length of its body."""
    lines = [b"%b: %b\r\n" % pair for pair in (*FIXED, *more, (b"content-type", kind))]
    return b"".join([b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()), *lines, _LENGTH])


_LENGTH: Final = b"content-length: "


def _whole(
    scope: Scope, status: int, kind: bytes, body: list[bytes], more: Headers, *, sized: bool = True
) -> dict[str, Any]:
    length = 0
    for piece in body:
        length += len(piece)
    head = b"%b%d\r\n" % (_head(status, kind, more), length)
    if not sized:
        head = _head(status, kind, more).removesuffix(_LENGTH)
    return {"type": ANSWER, "status": status, "head": head, "body": [] if scope["method"] == "HEAD" else body}


async def respond(
    scope: Scope, send: Send, status: int, kind: bytes, body: list[bytes], *, more: Headers = (), sized: bool = True
) -> None:
    """One whole response, its body in pieces. To HEAD the same headers go out without the body; the length if `sized`."""
    if ANSWER in scope.get("extensions", ()):
        await send(_whole(scope, status, kind, body, more, sized=sized))
        return
    joined = b"".join(body)
    headers = [*FIXED, *more, (b"content-type", kind)]
    if sized:
        headers.append((b"content-length", b"%d" % len(joined)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else joined})


async def refuse_method(method: str, send: Send) -> None:
    """OPTIONS is answered here, preflight or not, as a GS1 resolver should; other methods are refused."""
    status = 204 if method == "OPTIONS" else 405
    headers = [*FIXED, _ALLOW, *_PREFLIGHT] if status == 204 else [*FIXED, _ALLOW, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
