"""The pages of complaints, below /complaints: the form, what became of one, and the way back to it.

    GET  /complaints/new?code=PATH&lang=TAG   the form
    POST /complaints/new                      sent; 303 to the page of the new complaint
    GET  /complaints/NUMBER?key=KEY           how it stands
    GET  /complaints/find                     number and key typed by hand

Nobody logs in, no cookie is set, nothing needs JavaScript. Errors are pages too, in the reader's language.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from zpcode.errors import Finding, NotFound, Refused, Text, ZpError
from zpcode.language.messages import Messages
from zpcode.portal.complaints.desk import HONEYPOT, Desk
from zpcode.portal.complaints.metrics import FormCounters
from zpcode.portal.complaints.rate_limits import Busy, FormRateLimits
from zpcode.portal.shell import forms
from zpcode.portal.shell.forms import Sent
from zpcode.portal.shell.layout import HEADERS, PortalPages, see_other
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.regions import office_of
from zpcode.services.complaints import Received

PREFIX: Final = "/complaints"
LARGER: Final = {f"{PREFIX}/new": forms.MAX_BODY}
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FIELDS: Final = ("kind", "description", "place", "contact", "code")
_KNOWN: Final = frozenset({400, 404, 405, 408, 413, 500, 503})
_BUSY_SECONDS: Final = 5
_ITEMS: Final = frozenset({"item", "compact"})
_USED: Final = Text(
    "这张表单已提交过一次。若要另提一件投诉，请再按一次提交",
    "this form was sent before; to make another complaint, send it once more",
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the log and the metrics call the address that was asked for."""

    path: str


class Complaints:
    """The pages, as an ASGI application to be mounted at /complaints."""

    def __init__(
        self, desk: Desk, rate_limits: FormRateLimits | None = None, meters: FormCounters | None = None
    ) -> None:
        self.desk = desk
        self.rate_limits = rate_limits or FormRateLimits()
        self.meters = meters or FormCounters()
        self.pages = PortalPages(_TEMPLATES)
        self._developing = ThreadPoolExecutor(2, "photos")  # photos keep nobody else waiting for a thread
        self._router = Router(
            [
                Route("/", self._way_back, methods=["GET"]),
                Route("/new", self._new, methods=["GET", "POST"]),
                Route("/find", self._find, methods=["GET"]),
                Route("/static/{name}", self._static, methods=["GET"]),
                Route("/{number}", self._progress, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever ends it is told as a page."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        scope["route"] = _Named(f"{PREFIX}/…")
        scope.setdefault("app", self)
        scope["starlette.exception_handlers"] = ({}, {})  # the API's would answer with problem documents
        try:
            await self._router(scope, receive, sending)
        except ClientDisconnect:
            raise
        except Exception as error:
            if begun:
                raise
            response = self._failed(Request(scope), error)
            await response(scope, receive, send)

    def _failed(self, request: Request, error: Exception) -> Response:
        """The page of an error: of the framework, of ours, or a defect, which is logged and not shown."""
        headers: dict[str, str] = {}
        status = 500
        if isinstance(error, HTTPException):
            status = error.status_code if error.status_code in _KNOWN else 400
            headers = dict(error.headers or {})
        elif isinstance(error, NotFound):
            status = 404
        elif isinstance(error, (ZpError, Busy)):
            status = 503
            headers = {"Retry-After": str(_BUSY_SECONDS)}
        else:
            _logger.error("a page failed", exc_info=error)
        if status in {408, 413}:
            headers["Connection"] = "close"  # the rest of the body is not worth reading
        return self.pages.answer("error.html", self._texts(request), status, headers, number=status)

    async def _way_back(self, request: Request) -> Response:
        _name(request, "/")
        return see_other(f"{PREFIX}/find?{urlencode({'lang': self._texts(request).language})}")

    async def _static(self, request: Request) -> Response:
        _name(request, "/static/{name}")
        found = self.pages.static(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return found

    async def _new(self, request: Request) -> Response:
        """An empty form about a code, or about none; or one that was sent."""
        _name(request, "/new")
        if request.method == "POST":
            return await self._send(request)
        code = request.query_params.get("code", "")[: rules.MAX_CODE]
        return await self._form(self._texts(request), {"code": code})

    async def _send(self, request: Request) -> Response:
        """A form that was sent."""
        seconds = self.rate_limits.spend_attempt(_address(request))
        if seconds:
            self.meters.count("too_often")
            return self._too_often(self._texts(request), seconds)
        with self.rate_limits.form(_address(request)):
            sent = await forms.read(request)
            texts = self.pages.choose(sent.get("lang"), request.headers.get("accept-language", ""))
            try:
                return await self._taken(request, sent, texts)
            except Refused as refused:
                self.meters.count("refused")
                return await self._form(texts, sent.fields, refused)

    async def _taken(self, request: Request, sent: Sent, texts: Messages) -> Response:
        """The answer to a form that may be right. Raises Refused with what is wrong with it."""
        told, nonce = await run_in_threadpool(self.desk.read, sent, texts.language)
        photos = await self._developed(sent.files)
        named = await run_in_threadpool(self.desk.about, told.code)
        # By what it stands for, in whichever form it was scanned, copied or typed.
        seconds = self.rate_limits.spend_complaint(
            _address(request), named.path or named.code, item=named.level in _ITEMS
        )
        if seconds:
            self.meters.count("too_often")
            return await self._form(texts, sent.fields, wait=seconds)
        received = await run_in_threadpool(self.desk.receive, told, named, photos, nonce)
        return self._answer(texts, received)

    async def _developed(self, files: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if not files:
            return ()
        return await asyncio.get_running_loop().run_in_executor(self._developing, self.desk.develop, files)

    def _answer(self, texts: Messages, received: Received) -> Response:
        if received.other:
            raise Refused(_USED, (Finding("used", _USED, "ticket"),))
        self.meters.count("repeated" if received.repeated else "received")
        if not received.key:
            return self.pages.answer("same.html", texts, number=received.number, at=received.at)
        query = urlencode({"key": received.key, "new": "1", "lang": texts.language})
        return see_other(f"{PREFIX}/{received.number}?{query}")

    async def _form(
        self,
        texts: Messages,
        typed: dict[str, str],
        refused: Refused | None = None,
        wait: int = 0,
    ) -> Response:
        """The form with what was typed, what is wrong with it, and a new ticket."""
        named = await run_in_threadpool(self.desk.about, typed.get("code", ""))
        ticket = await run_in_threadpool(self.desk.ticket)
        findings = () if refused is None else refused.findings
        errors = [(finding.where, texts.sentence(finding.text)) for finding in findings]
        if wait:
            errors = [("ticket", texts("form.too_often", minutes=-(-wait // 60)))]
        status = 429 if wait else 422 if errors else 200
        return self.pages.answer(
            "form.html",
            texts,
            status,
            {"Retry-After": str(wait)} if wait else None,
            typed={name: typed.get(name, "") for name in (*_FIELDS, HONEYPOT)},
            named=named,
            errors=errors,
            wrong=dict(reversed(errors)),
            ticket=ticket,
            lost=bool(errors),
            kinds=[kind.value for kind in rules.ComplaintKind],
            bounds=rules,
            query={"code": typed.get("code", "")},
        )

    async def _progress(self, request: Request) -> Response:
        """How one complaint stands, for whoever holds its key."""
        _name(request, "/{number}")
        texts = self._texts(request)
        number = reference.read_number(request.path_params["number"]) or ""
        key = reference.read_key(request.query_params.get("key", ""))
        try:
            found = await run_in_threadpool(self.desk.follow, number, key)
        except NotFound:
            seconds = self.rate_limits.spend_attempt(_address(request))
            if seconds:
                return self._too_often(texts, seconds)
            return self._look_up(texts, number or request.path_params["number"][:40], "", "find.unknown", 404)
        return self.pages.answer(
            "progress.html",
            texts,
            found=found,
            key=key,
            office=office_of,
            fresh=request.query_params.get("new") == "1",
            query={"key": key},
        )

    async def _find(self, request: Request) -> Response:
        """Number and key as somebody has them on paper."""
        _name(request, "/find")
        texts = self._texts(request)
        number, key = request.query_params.get("number", "")[:100], request.query_params.get("key", "")[:100]
        if not number and not key:
            return self._look_up(texts, "", "")
        read, opened = reference.read_number(number), reference.read_key(key)
        if read is None:
            return self._look_up(texts, number, key, "find.no_number", 422)
        if not opened:
            return self._look_up(texts, read, key, "find.no_key", 422)
        return see_other(f"{PREFIX}/{read}?{urlencode({'key': opened, 'lang': texts.language})}")

    def _look_up(self, texts: Messages, number: str, key: str, problem: str = "", status: int = 200) -> Response:
        errors = [("key" if problem == "find.no_key" else "number", texts(problem))] if problem else []
        values: dict[str, Any] = {"number": number, "key": key, "errors": errors, "wrong": dict(errors)}
        return self.pages.answer("find.html", texts, status, **values)

    def _too_often(self, texts: Messages, seconds: int) -> Response:
        headers = {"Retry-After": str(seconds), "Connection": "close"}
        return self.pages.answer("error.html", texts, 429, headers, number=429)

    def _texts(self, request: Request) -> Messages:
        asked = request.query_params.get("lang", "")
        return self.pages.choose(asked, request.headers.get("accept-language", ""))


async def with_slash(request: Request) -> Response:
    """`/complaints`, as people type it: sent on to the pages with whatever stood behind it (308)."""
    query = request.url.query
    location = f"{PREFIX}/?{query}" if query else f"{PREFIX}/"
    return Response(status_code=308, headers=HEADERS | {"Location": location})


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host


def _name(request: Request, path: str) -> None:
    request.scope["route"] = _Named(PREFIX + path)
