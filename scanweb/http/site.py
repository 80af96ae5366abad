"""The pages and files of the scan service besides scans: the form, the keyring, health, scripts, robots.txt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from keys.keyring import KeyringFile
from scanweb.http import exchange, responses
from scanweb.http.scan_route import ScanRoute
from scanweb.page import assets
from scanweb.page.html import LARGE
from scanweb.page.slots import SlottedPage
from zpcode.errors import MalformedCode
from zpcode.language.negotiation import takes_gzip, wants_json
from zpcode.wire import link
from zpcode.wire.card import NoticesCard

PATHS: Final = frozenset(
    {
        "/", "/q", "/healthz", "/readyz", "/robots.txt", "/favicon.ico",
        "/.well-known/zpcode-keyring.json", "/.well-known/security.txt",
    }
)  # fmt: skip
FOLDER: Final = "/static/"
ALWAYS: Final = frozenset({"/healthz", "/readyz"})
"""Paths without a rate limit: a balancer asks for them often."""
KEYRING_SECONDS: Final = 60
ROBOTS: Final = "User-agent: *\nAllow: /$\nAllow: /static/\nDisallow: /\n"
"""Crawlers may index the front page only: pages of codes are for those who hold the product (RFC 9309)."""
SECURITY_DAYS: Final = 180


class Static(StaticFiles):
    """Static files. An address with this version's hash may be cached for ever, every other address for an hour.

    During a deployment some servers are still old: what they send for the new address must not be kept.
    """

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The response with a file, or 304."""
        response = super().file_response(*args, **kwargs)
        scope: Scope = args[2] if len(args) > 2 else kwargs["scope"]
        versioned = f"{scope['path']}?{scope['query_string'].decode('latin-1')}" in assets.VERSIONED
        for name, value in _fixed().items():
            response.headers[name] = value
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if versioned else "public, max-age=3600"
        )
        return response


class TypedResponse(Response):
    """The response to a number typed at /q. `ScanRoute` sends it, so that it equals the response to a scan."""

    def __init__(self, scan: ScanRoute, text: str) -> None:
        super().__init__()
        self._scan, self._text = scan, text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        del receive
        await self._scan.typed(scope, send, self._text)


def create(
    scan: ScanRoute,
    keyring: KeyringFile,
    ready: Callable[[], bool],
    notices: Callable[[], NoticesCard | None],
    security: str,
    base: str,
) -> FastAPI:
    """The application. `ready` says whether the process is ready, `notices` has the published notices (None: unknown).

    `security` is the URI to which weaknesses of the service are reported (RFC 9116); empty: there is no security.txt.
    """
    silent: TelemetryConfig = {
        "tracing": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
    }  # it would record typed codes
    site = FastAPI(title="浙品码 scan", docs_url=None, redoc_url=None, openapi_url=None, telemetry=silent)
    site.mount("/static", Static(directory=assets.STATIC))
    site.add_api_route("/", _landing(scan, notices), methods=["GET", "HEAD"])
    site.add_api_route("/q", _typed(scan), methods=["GET", "HEAD"])
    site.add_api_route("/.well-known/zpcode-keyring.json", _keyring(keyring), methods=["GET", "HEAD"])
    site.add_api_route("/healthz", _alive, methods=["GET", "HEAD"])
    site.add_api_route("/readyz", _ready(ready), methods=["GET", "HEAD"])
    site.add_api_route("/robots.txt", _robots, methods=["GET", "HEAD"])
    if security:
        site.add_api_route("/.well-known/security.txt", _security(security, base), methods=["GET", "HEAD"])
    site.add_api_route("/favicon.ico", _icon, methods=["GET", "HEAD"])
    site.add_exception_handler(HTTPException, _refused(scan))
    return site


def _language(scan: ScanRoute, read: exchange.Request) -> str:
    return scan.languages.choose(read.asked_language, read.languages)


def _fixed() -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in responses.FIXED if name != b"link"}


def _refused(scan: ScanRoute) -> Callable[[Request, Exception], Response]:
    """The handler of the framework's own refusals (no such file, no such method): it sends them in the reader's language."""

    def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        read = exchange.Request.read(request.scope)
        language = _language(scan, read)
        as_json = wants_json(read.accept, read.asked_format)
        body = scan.refusals.body(error.status_code, language, as_json=as_json, large=read.large)
        media = (responses.JSON if as_json else responses.HTML).decode()
        headers = _fixed() | {"content-language": language} | dict(error.headers or {})
        return Response(body, error.status_code, headers, media_type=media)

    return refused


def _page(page: SlottedPage, read: exchange.Request, language: str) -> Response:
    zipped = takes_gzip(read.encodings)
    headers = _fixed() | {"content-language": language} | ({"content-encoding": "gzip"} if zipped else {})
    body = b"".join(page.gzipped(()) if zipped else page.plain(()))
    return Response(body, media_type=responses.HTML.decode(), headers=headers)


def _landing(scan: ScanRoute, notices: Callable[[], NoticesCard | None]) -> Callable[[Request], Any]:
    async def landing(request: Request) -> Response:
        read = exchange.Request.read(request.scope)
        language = _language(scan, read)
        page = scan.pages.landing(language, notices(), large=read.large)
        return _page(page, read, language)

    return landing


def _typed(scan: ScanRoute) -> Callable[[Request], Any]:
    """Redirect a pasted link to its code on this host; respond to a number typed by hand."""

    async def typed(request: Request) -> Response:
        text = request.query_params.get("code", "").strip()
        read = exchange.Request.read(request.scope)
        query = "?lang=" + _language(scan, read)
        if read.large:
            query += LARGE
        if not text:
            return RedirectResponse("/" + query, status_code=303, headers=_fixed())
        if "/" in text:
            try:
                path = link.parse(link.path_of(text)).path
            except MalformedCode:
                return TypedResponse(scan, text)
            return RedirectResponse(path + query, status_code=303, headers=_fixed())
        return TypedResponse(scan, text)

    return typed


def _keyring(file: KeyringFile) -> Callable[[], Any]:
    async def keyring() -> Response:
        headers = _fixed() | {"cache-control": f"public, max-age={KEYRING_SECONDS}"}
        return Response(file.current().document, media_type="application/json", headers=headers)

    return keyring


async def _alive() -> Response:
    return PlainTextResponse("ok\n", headers=_fixed())


def _ready(ready: Callable[[], bool]) -> Callable[[], Any]:
    """The response of /readyz: only ready or not, because this port is public."""

    async def readiness() -> Response:
        state = ready()
        return JSONResponse({"ready": state}, status_code=200 if state else 503, headers=_fixed())

    return readiness


async def _robots() -> Response:
    return PlainTextResponse(ROBOTS, headers=_fixed())


def _security(contact: str, base: str) -> Callable[[], Any]:
    async def security() -> Response:
        until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=SECURITY_DAYS)
        lines = (
            f"Contact: {contact}",
            f"Expires: {until:%Y-%m-%dT%H:%M:%SZ}",
            "Preferred-Languages: zh, en",
            f"Canonical: {base}/.well-known/security.txt",
        )
        return PlainTextResponse("\n".join(lines) + "\n", headers=_fixed())

    return security


async def _icon() -> Response:
    return RedirectResponse("/static/icon.svg", status_code=308, headers=_fixed())
