"""The caller behind the Authorization header, and the media types of bodies that a route accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from zpcode.api.http.context import AuthorityDep
from zpcode.api.http.refusals import Unauthenticated, UnsupportedMedia
from zpcode.rules.access import Caller, may_administer, parse_token
from zpcode.services import access

JSON: Final = "application/json"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="zpk_ID_SECRET",
    description="API key, given out by the operator / 访问密钥，由平台运营方发放",
    auto_error=False,
)


def caller_of(
    request: Request,
    authority: AuthorityDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Caller:
    """The caller that a request's API key belongs to. Raises Unauthenticated, TooMany."""
    token = "" if credentials is None else credentials.credentials
    address = None if request.client is None else request.client.host
    authority.rate_limits.spend_request(token)
    if parse_token(token) is None:
        authority.rate_limits.check_failures(address)
    caller = access.authenticate(authority.engine, token, authority.clock())
    if caller is None:
        authority.rate_limits.spend_failure(address)
        raise Unauthenticated
    if request.method not in _READING:
        authority.rate_limits.spend_write(caller)
    request.state.caller = caller.name
    return caller


CallerDep = Annotated[Caller, Depends(caller_of)]


async def limit_reading(request: Request, authority: AuthorityDep) -> None:
    """Take one request of an address that reads without a key. Raises TooMany. It waits for no thread."""
    authority.rate_limits.spend_read(None if request.client is None else request.client.host)


def operator_of(caller: CallerDep) -> Caller:
    """The caller, who has to be the operator. Raises Forbidden."""
    may_administer(caller)
    return caller


OperatorDep = Annotated[Caller, Depends(operator_of)]


def takes(*accepted: str) -> Callable[[Request, Caller], None]:
    """A dependency that raises UnsupportedMedia for bodies of any other media type, and for compressed ones.

    It depends on the caller: a request without a valid key is refused for that reason first.
    """

    def check(request: Request, _: CallerDep) -> None:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if media not in accepted or encoding != "identity":
            raise UnsupportedMedia(accepted)

    return check


TAKES_JSON = Depends(takes(JSON))
LIMITS_READING = Depends(limit_reading)
