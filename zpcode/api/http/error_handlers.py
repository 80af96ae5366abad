"""From whatever ended a request to its problem document. `install` is the only thing an application calls."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from zpcode.api.http import problems, validation
from zpcode.api.http.refusals import Malformed
from zpcode.errors import NotFound, Text, ZpError

# What the framework itself answers, as slugs of ours.
_BY_STATUS: Final = {
    400: ("malformed-request", Text("请求体不是有效的 JSON", "the body is not valid JSON")),
    404: ("not-found", Text("没有这个地址", "there is no such address")),
    405: ("method-not-allowed", Text("这个地址不支持所用的方法", "this address does not know the method")),
    413: ("body-too-large", Text("请求体超过上限", "the body is larger than this address takes")),
}


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(ZpError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ZpError):
        raise error
    return problems.of(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """A request that does not agree with its schema. A path that can name nothing is simply not found."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return _framework(request, 400)
    if any(one["loc"][0] == "path" for one in found):
        return problems.of(request, NotFound(_BY_STATUS[404][1]))
    return problems.of(request, Malformed(validation.findings(found)))


async def _on_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals: unknown address, method, a body it cannot read."""
    if not isinstance(error, HTTPException):
        raise error
    return _framework(request, error.status_code, dict(error.headers or {}))


def _framework(request: Request, status: int, headers: dict[str, str] | None = None) -> Response:
    slug, text = _BY_STATUS.get(status, _BY_STATUS[400])
    if status == 413:
        headers = {**(headers or {}), "Connection": "close"}  # the rest of the body is not worth reading
    return problems.answer(request, problems.KINDS[slug], text, headers=headers)
