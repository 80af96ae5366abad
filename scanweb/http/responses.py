"""Responses of the scan service: headers, whole responses in one message, refused methods."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from scanweb.http.exchange import Headers, Scope, Send
from scanweb.page import assets
from zpcode.wire import security_headers

WHOLE_RESPONSE: Final = "zpcode.response"
"""An ASGI extension and its message (`scanweb.server`): a whole response at once. `head` is status line and headers, each
with its line break; `body` is a list of pieces."""

HTML: Final = b"text/html; charset=utf-8"

JSON: Final = b"application/json"

FIXED: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    *security_headers.raw(security_headers.scan_page(assets.STYLE)),
    (b"vary", b"Accept, Accept-Language, Accept-Encoding"),
    (b"access-control-allow-origin", b"*"),
    (b"link", b'<?format=json>; rel="alternate"; type="application/json"'),
)

_ALLOW: Final = (b"allow", b"GET, HEAD, OPTIONS")

_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Accept, Accept-Language"),
    (b"access-control-max-age", b"86400"),
)


@lru_cache(maxsize=256)
def _head(status: int, kind: bytes, more: Headers) -> bytes:
    """Status line and headers of a response, up to the length of its body."""
    lines = [b"%b: %b\r\n" % pair for pair in (*FIXED, *more, (b"content-type", kind))]
    return b"".join([b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode()), *lines, _LENGTH])


_LENGTH: Final = b"content-length: "


def whole(
    scope: Scope, status: int, kind: bytes, body: list[bytes], more: Headers, *, sized: bool = True
) -> dict[str, Any]:
    """A whole response as one message (`WHOLE_RESPONSE`): to HEAD without body, and without length unless `sized`."""
    length = 0
    for piece in body:
        length += len(piece)
    head = b"%b%d\r\n" % (_head(status, kind, more), length)
    if not sized:
        head = _head(status, kind, more).removesuffix(_LENGTH)
    return {"type": WHOLE_RESPONSE, "status": status, "head": head, "body": [] if scope["method"] == "HEAD" else body}


async def respond(
    scope: Scope, send: Send, status: int, kind: bytes, body: list[bytes], *, more: Headers = (), sized: bool = True
) -> None:
    """Send a whole response, its body in pieces. To HEAD it is sent without body, and without length unless `sized`."""
    if WHOLE_RESPONSE in scope.get("extensions", ()):
        await send(whole(scope, status, kind, body, more, sized=sized))
        return
    joined = b"".join(body)
    headers = [*FIXED, *more, (b"content-type", kind)]
    if sized:
        headers.append((b"content-length", b"%d" % len(joined)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else joined})


async def refuse_method(method: str, send: Send) -> None:
    """Respond to OPTIONS (CORS, as a GS1 resolver has to) and refuse every other method."""
    status = 204 if method == "OPTIONS" else 405
    headers = [*FIXED, _ALLOW, *_PREFLIGHT] if status == 204 else [*FIXED, _ALLOW, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
