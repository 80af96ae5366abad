"""Everything of the scan service that is not a scan: the form, the keyring, health, the style sheet."""

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
from scanweb.http import responses
from scanweb.http.scan_route import ScanRoute
from scanweb.page import assets
from scanweb.page.html import LARGE
from scanweb.page.slots import Fill
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
"""What a balancer asks for however often."""
KEYRING_SECONDS: Final = 60
ROBOTS: Final = "User-agent: *\nAllow: /$\nAllow: /static/\nDisallow: /\n"
"""The front page may be found; what a code says is for whoever holds it, and a crawler's visit is no scan (RFC 9309)."""
SECURITY_DAYS: Final = 180


class Static(StaticFiles):
    """The style sheet's neighbours. An address that names this version is good for ever, any other for an hour.

    Of several servers some are older while a new version comes in: what they have under its address must not be kept.
    """

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        scope: Scope = args[2] if len(args) > 2 else kwargs["scope"]
        versioned = f"{scope['path']}?{scope['query_string'].decode('latin-1')}" in assets.VERSIONED
        for name, value in _fixed().items():
            response.headers[name] = value
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if versioned else "public, max-age=3600"
        )
        return response


class Typed:
    """An answer that writes itself, so that /q and a scan send exactly the same."""

    def __init__(self, scan: ScanRoute, text: str) -> None:
        self.scan, self.text = scan, text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as ASGI has it."""
        del receive
        await self.scan.typed(scope, send, self.text)


class _Response(Response):
    def __init__(self, typed: Typed) -> None:
        super().__init__()
        self._typed = typed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._typed(scope, receive, send)


def create(
    scan: ScanRoute,
    rings: KeyringFile,
    health: Callable[[], dict[str, Any]],
    notices: Callable[[], NoticesCard | None],
    security: str,
    base: str,
) -> FastAPI:
    """The app. `health` tells the state of what this process stands on, `notices` what was published last.

    `security` is where a weakness of the service is to be reported (RFC 9116), a URI; empty: nowhere is said.
    """
    silent: TelemetryConfig = {
        "tracing": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
    }  # it would note typed codes
    site = FastAPI(title="浙品码 scan", docs_url=None, redoc_url=None, openapi_url=None, telemetry=silent)
    site.mount("/static", Static(directory=assets.STATIC))
    site.add_api_route("/", _landing(scan, notices), methods=["GET", "HEAD"])
    site.add_api_route("/q", _typed(scan), methods=["GET", "HEAD"])
    site.add_api_route("/.well-known/zpcode-keyring.json", _keyring(rings), methods=["GET", "HEAD"])
    site.add_api_route("/healthz", _alive, methods=["GET", "HEAD"])
    site.add_api_route("/readyz", _ready(health), methods=["GET", "HEAD"])
    site.add_api_route("/robots.txt", _robots, methods=["GET", "HEAD"])
    if security:
        site.add_api_route("/.well-known/security.txt", _security(security, base), methods=["GET", "HEAD"])
    site.add_api_route("/favicon.ico", _icon, methods=["GET", "HEAD"])
    site.add_exception_handler(HTTPException, _refused(scan))
    return site


def _language(scan: ScanRoute, request: Request) -> str:
    asked = request.query_params.get("lang", "")
    return scan.languages.choose(asked, request.headers.get("accept-language", ""))


def _fixed() -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in responses.FIXED if name != b"link"}


def _refused(scan: ScanRoute) -> Callable[[Request, Exception], Response]:
    """What the framework itself refuses (no such file, no such method), said in the reader's language."""

    def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        language = _language(scan, request)
        as_json = wants_json(request.headers.get("accept", ""), request.query_params.get("format", ""))
        large = request.query_params.get("size") == "large"
        body = scan.refusals.body(error.status_code, language, as_json=as_json, large=large)
        media = (responses.JSON if as_json else responses.HTML).decode()
        headers = _fixed() | {"content-language": language} | dict(error.headers or {})
        return Response(body, error.status_code, headers, media_type=media)

    return refused


def _page(page: Fill, request: Request, language: str) -> Response:
    zipped = takes_gzip(request.headers.get("accept-encoding", ""))
    headers = _fixed() | {"content-language": language} | ({"content-encoding": "gzip"} if zipped else {})
    body = b"".join(page.gzipped(()) if zipped else page.plain(()))
    return Response(body, media_type=responses.HTML.decode(), headers=headers)


def _landing(scan: ScanRoute, notices: Callable[[], NoticesCard | None]) -> Callable[[Request], Any]:
    async def landing(request: Request) -> Response:
        language = _language(scan, request)
        page = scan.pages.landing(language, notices(), large=request.query_params.get("size") == "large")
        return _page(page, request, language)

    return landing


def _typed(scan: ScanRoute) -> Callable[[Request], Any]:
    """A pasted link goes where it leads on this host; a number typed by hand is answered here."""

    async def typed(request: Request) -> Response:
        text = request.query_params.get("code", "").strip()
        looks = "?lang=" + _language(scan, request)
        if request.query_params.get("size") == "large":
            looks += LARGE
        if not text:
            return RedirectResponse("/" + looks, status_code=303, headers=_fixed())
        if "/" in text:
            try:
                path = link.parse(link.path_of(text)).path
            except MalformedCode:
                return _Response(Typed(scan, text))
            return RedirectResponse(path + looks, status_code=303, headers=_fixed())
        return _Response(Typed(scan, text))

    return typed


def _keyring(rings: KeyringFile) -> Callable[[], Any]:
    async def keyring() -> Response:
        headers = _fixed() | {"cache-control": f"public, max-age={KEYRING_SECONDS}"}
        return Response(rings.current().document, media_type="application/json", headers=headers)

    return keyring


async def _alive() -> Response:
    return PlainTextResponse("ok\n", headers=_fixed())


def _ready(health: Callable[[], dict[str, Any]]) -> Callable[[], Any]:
    async def ready() -> Response:
        state = health()
        return JSONResponse(state, status_code=200 if state["ready"] else 503, headers=_fixed())

    return ready


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
