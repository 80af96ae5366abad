"""Who is asking, from the Authorization header; and which bodies a route takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from zpcode.api.http.context import Here
from zpcode.api.http.refusals import Unauthenticated, UnsupportedMedia
from zpcode.rules.access import Caller, may_administer
from zpcode.services import access

JSON: Final = "application/json"
_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="zpk_ID_SECRET",
    description="API key, given out by the operator / 访问密钥，由平台运营方发放",
    auto_error=False,
)


def caller_of(
    request: Request, here: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
) -> Caller:
    """The caller behind a request's API key. Raises Unauthenticated, TooMany."""
    sent = "" if credentials is None else credentials.credentials
    address = None if request.client is None else request.client.host
    here.rate_limits.spend_request(address, sent)
    found = access.authenticate(here.engine, sent, here.clock())
    if found is None:
        here.rate_limits.spend_failure(address)
        raise Unauthenticated
    here.rate_limits.note_success(sent)
    request.state.caller = found.name
    return found


Asking = Annotated[Caller, Depends(caller_of)]


def operator_of(asking: Asking) -> Caller:
    """The caller, who has to be the operator. Raises Forbidden."""
    may_administer(asking)
    return asking


Operating = Annotated[Caller, Depends(operator_of)]


def takes(*accepted: str) -> Callable[[Request, Caller], None]:
    """A dependency that refuses bodies of any other media type, and compressed ones, with UnsupportedMedia.

    It asks for the caller first: a stranger is told that they are one, and nothing else.
    """

    def check(request: Request, _: Asking) -> None:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if media not in accepted or encoding != "identity":
            raise UnsupportedMedia(accepted)

    return check


TAKES_JSON = Depends(takes(JSON))
