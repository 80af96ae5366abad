"""The complaint pages, below /complaints: the form, the progress of a complaint, and a form to find it again.

    GET  /complaints/new?code=PATH&lang=TAG   the form
    POST /complaints/new                      the form is sent; 303 to the page of the new complaint
    GET  /complaints/NUMBER?key=KEY           the progress of a complaint
    GET  /complaints/find                     number and key typed by hand

There is no sign-in and no cookie, and every page works without JavaScript.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from zpcode.errors import RETRY_SECONDS, Finding, NotFound, Refused, Text
from zpcode.language.messages import Messages
from zpcode.portal.complaints.desk import HONEYPOT, TICKET, Desk, photo_findings
from zpcode.portal.complaints.metrics import FormCounters
from zpcode.portal.complaints.photo_queue import PhotoQueue, QueueFull
from zpcode.portal.complaints.rate_limits import (
    HOUR,
    Admission,
    ComplaintRateLimits,
    Exhausted,
    LimitedComplaint,
    TooOften,
)
from zpcode.portal.shell import forms
from zpcode.portal.shell.forms import FormReader, SubmittedForm
from zpcode.portal.shell.layout import PortalPages, redirect
from zpcode.portal.shell.section import Section
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.regions import office_of
from zpcode.services.complaints import ComplaintReceipt

PREFIX: Final = "/complaints"
LARGER: Final = {f"{PREFIX}/new": forms.MAX_BODY}
_FIELDS: Final = ("kind", "description", "place", "contact", "code", HONEYPOT)
_KINDS: Final = tuple(kind.value for kind in rules.ComplaintKind)
_ITEM_LEVELS: Final = frozenset({"item", "compact"})
_USED: Final = Text(
    "此表单已提交过一次。如需另行提交一件投诉，请再提交一次",
    "this form was sent before; to make another complaint, send it once more",
)


class Complaints(Section):
    """The complaint pages on the shell."""

    def __init__(
        self, desk: Desk, rate_limits: ComplaintRateLimits | None = None, counters: FormCounters | None = None
    ) -> None:
        routes = [
            Route("/", self._start, methods=["GET"]),
            Route("/new", self._new, methods=["GET", "POST"]),
            Route("/find", self._find, methods=["GET"]),
            Route("/{number}", self._progress, methods=["GET"]),
        ]
        super().__init__(PortalPages(PREFIX, Path(__file__).parent), routes)
        self.desk = desk
        self.rate_limits = rate_limits or ComplaintRateLimits()
        self.counters = counters or FormCounters()
        self._reader = FormReader()
        self._photos = PhotoQueue(desk.decode_photo)

    async def _start(self, request: Request) -> Response:
        return redirect(f"{PREFIX}/find?{urlencode({'lang': self.pages.texts(request).language})}")

    async def _new(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._send(request)
        code = request.query_params.get("code", "")[: rules.MAX_CODE]
        return await self._form(self.pages.texts(request), {"code": code})

    async def _send(self, request: Request) -> Response:
        address = _address(request)
        seconds = self.rate_limits.spend_attempt(address)
        if seconds:
            self.counters.count("too_often")
            return self._too_often(self.pages.texts(request), seconds)
        submitted = await self._reader.read(request)
        texts = self.pages.texts(request, submitted.get("lang"))
        try:
            return await self._receive(submitted, texts, address)
        except Refused as refused:
            self.counters.count("refused")
            return await self._form(texts, submitted.fields, _errors(refused, texts), 422)
        except TooOften as too_often:
            self.counters.count("too_often")
            headers = {"Retry-After": str(too_often.seconds)}
            return await self._form(texts, submitted.fields, [_too_often(too_often, texts)], 429, headers)
        except QueueFull:
            self.counters.count("busy")
            errors, headers = [("photos", texts("form.photos_busy"))], {"Retry-After": str(RETRY_SECONDS)}
            return await self._form(texts, submitted.fields, errors, 503, headers)

    async def _receive(self, submitted: SubmittedForm, texts: Messages, address: str | None) -> Response:
        """Record the complaint of a form. Raises Refused with what is wrong with it, TooOften, and QueueFull."""
        sent = await run_in_threadpool(self.desk.read, submitted, texts.language)
        earlier = await run_in_threadpool(self.desk.received_before, sent)
        if earlier is not None:  # it is free: neither charged nor decoded again
            return self._received(earlier, texts)
        subject = await run_in_threadpool(self.desk.subject, sent.form.code)
        # The limits go by the path of the code: it is the same for every form in which a code is scanned, pasted or typed.
        code, item = subject.path or subject.code, subject.level in _ITEM_LEVELS
        limited = LimitedComplaint(address, code, item, subject.genuine)
        whole = self.rate_limits.check_complaint(limited) is Admission.WHOLE
        photos = await self._decode(submitted.files, address) if whole else ()
        admission = self.rate_limits.spend_complaint(limited)
        marked = admission is not Admission.WHOLE
        kept = () if marked else photos
        receipt = await run_in_threadpool(partial(self.desk.receive, sent, subject, kept, over_budget=marked))
        if receipt.repeated:  # the same form arrived twice at once
            self.rate_limits.give_back(limited, admission)
        return self._received(receipt, texts, dropped=len(kept) < len(submitted.files), marked=marked)

    async def _decode(self, files: tuple[bytes, ...], address: str | None) -> tuple[bytes, ...]:
        """The photos of a form, decoded and charged. Raises Refused, TooOften, QueueFull, Unavailable."""
        if not files:
            return ()
        self.rate_limits.check_photos(address)
        charge = self.rate_limits.charge_photo
        outcomes = await self._photos.decode(
            files, address, lambda one: charge(address, refused=isinstance(one, Refused))
        )
        refused = photo_findings(outcomes)
        if refused is not None:
            raise refused
        return tuple(photo for photo in outcomes if isinstance(photo, bytes))

    def _received(
        self, receipt: ComplaintReceipt, texts: Messages, *, dropped: bool = False, marked: bool = False
    ) -> Response:
        if receipt.other:
            raise Refused(_USED, (Finding("used", _USED, TICKET),))
        self.counters.count("repeated" if receipt.repeated else "over_budget" if marked else "received")
        if not receipt.key:
            return self.pages.page("same.html", texts, number=receipt.number, at=receipt.at)
        query = {"key": receipt.key, "new": "text" if dropped else "1", "lang": texts.language}
        return redirect(f"{PREFIX}/{receipt.number}?{urlencode(query)}")

    async def _form(
        self,
        texts: Messages,
        entered: Mapping[str, str],
        errors: Sequence[tuple[str, str]] = (),
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The form with what was entered, what is wrong with it, and a new ticket."""
        code = entered.get("code", "")
        subject = await run_in_threadpool(self.desk.subject, code)
        ticket = await run_in_threadpool(self.desk.ticket)
        return self.pages.page(
            "form.html",
            texts,
            status,
            headers,
            errors=errors,
            query={"code": code},
            entered={name: entered.get(name, "") for name in _FIELDS},
            subject=subject,
            printed_code=_printed(subject.code),
            ticket=ticket,
            kinds=_KINDS,
            bounds=rules,
        )

    async def _progress(self, request: Request) -> Response:
        texts, path_number = self.pages.texts(request), request.path_params["number"]
        number = reference.read_number(path_number) or ""
        key = reference.read_key(request.query_params.get("key", ""))
        try:
            complaint = await run_in_threadpool(self.desk.follow, number, key)
        except NotFound:
            seconds = self.rate_limits.spend_wrong_key(_address(request))
            if seconds:
                return self._too_often(texts, seconds)
            return self._find_form(texts, number or path_number[:40], "", ("number", "find.unknown"), 404)
        return self.pages.page(
            "progress.html",
            texts,
            query={"key": key},
            complaint=complaint,
            printed_code=_printed(complaint.form.code),
            key=key,
            office_of=office_of,
            just_received=request.query_params.get("new", ""),
        )

    async def _find(self, request: Request) -> Response:
        texts = self.pages.texts(request)
        typed_number = request.query_params.get("number", "")[:100]
        typed_key = request.query_params.get("key", "")[:100]
        if not typed_number and not typed_key:
            return self._find_form(texts, "", "")
        number, key = reference.read_number(typed_number), reference.read_key(typed_key)
        if number is None:
            return self._find_form(texts, typed_number, typed_key, ("number", "find.no_number"), 422)
        if not key:
            return self._find_form(texts, number, typed_key, ("key", "find.no_key"), 422)
        return redirect(f"{PREFIX}/{number}?{urlencode({'key': key, 'lang': texts.language})}")

    def _find_form(
        self, texts: Messages, number: str, key: str, error: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        """The form for number and key. `error` is a field and the words about it."""
        errors = [(error[0], texts(error[1]))] if error else []
        return self.pages.page("find.html", texts, status, errors=errors, number=number, key=key)

    def _too_often(self, texts: Messages, seconds: int) -> Response:
        return self.pages.error(texts, 429, {"Retry-After": str(seconds), "Connection": "close"})


def _errors(refused: Refused, texts: Messages) -> list[tuple[str, str]]:
    """Findings by field. The ticket is no field that a reader can correct."""
    return [("" if one.where == TICKET else one.where, texts.sentence(one.text)) for one in refused.findings]


def _too_often(refused: TooOften, texts: Messages) -> tuple[str, str]:
    """The field and the words about an exhausted limit."""
    wait = _wait(refused.seconds, texts)
    if refused.exhausted is Exhausted.PHOTOS:
        return "photos", texts("form.too_many_photos", wait=wait)
    if refused.exhausted is Exhausted.SENDER:
        return "", texts("form.too_often", wait=wait)
    if refused.exhausted is Exhausted.CODE:
        return "", texts("form.too_often_code", wait=wait)
    return "", texts("form.too_often_all", wait=wait)


def _wait(seconds: int, texts: Messages) -> str:
    """Seconds in words, rounded up: minutes, and hours from two hours on."""
    if seconds < 2 * HOUR:
        return texts("form.minutes", n=math.ceil(seconds / 60))
    return texts("form.hours", n=math.ceil(seconds / HOUR))


def _printed(code: str) -> str:
    """The part of a code that is printed on the label as text, which a reader can compare: from `/01/` on."""
    return code[code.find("/01/") :] if "/01/" in code else code


def _address(request: Request) -> str | None:
    return None if request.client is None else request.client.host
