"""Every error of a request becomes a problem document. An application calls only `install`."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from zpcode.api.http import problems, validation
from zpcode.api.http.refusals import Malformed
from zpcode.errors import NotFound, Text, ZpError

# Errors of the framework, by status: the slug of the problem, and its detail.
_BY_STATUS: Final = {
    400: ("malformed-request", Text("请求体不是有效的 JSON", "the body is not valid JSON")),
    404: ("not-found", Text("没有这个地址", "there is no such address")),
    405: ("method-not-allowed", Text("这个地址不支持所用的方法", "this address does not support the method")),
    413: ("body-too-large", Text("请求体超过上限", "the body is larger than this address accepts")),
}


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(ZpError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ZpError):
        raise error
    return problems.response_to(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """A request that does not match its schema. If the path does not match, nothing can be at that address: not found."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = error.errors()
    if any(one["type"] == "json_invalid" for one in errors):
        return _framework(request, 400)
    if any(one["loc"][0] == "path" for one in errors):
        return problems.response_to(request, NotFound(_BY_STATUS[404][1]))
    return problems.response_to(request, Malformed(validation.findings(errors)))


async def _on_http(request: Request, error: Exception) -> Response:
    """Errors of the framework: unknown address or method, a body that cannot be read."""
    if not isinstance(error, HTTPException):
        raise error
    return _framework(request, error.status_code, dict(error.headers or {}))


def _framework(request: Request, status: int, headers: dict[str, str] | None = None) -> Response:
    slug, text = _BY_STATUS.get(status, _BY_STATUS[400])
    if status == 413:
        headers = {**(headers or {}), "Connection": "close"}  # the rest of the body is not read
    return problems.response(request, problems.KINDS[slug], text, headers=headers)
