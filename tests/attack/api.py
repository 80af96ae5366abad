"""The API without the right to use it, and requests that two readers of HTTP understand differently."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import httpx

from tests.attack.target import Attempt, Attempts, Target, status_of

_PUBLIC = {
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/problems/{slug}",
    "/.well-known/zpcode-keyring.json",
    "/v1/notices",
}
_PLACEHOLDERS = {"number": "1", "gtin": "06901234567892", "lot": "L-1", "event": "1", "which": "picture",
                 "position": "1", "key_id": "x"}  # fmt: skip
_BY_OTHERS = {"/v1/api-keys", "/v1/api-keys/{key_id}", "/v1/registry/imports"}
"""Routes of the operator alone."""


def without_a_key(target: Target) -> Attempts:
    """Every route that is not public answers 401 without a valid key, whatever stands for one."""
    token = target.demo.tokens["operator"]["Authorization"].removeprefix("Bearer ")
    identifier, _, secret = token.rpartition("_")
    callers: dict[str, dict[str, str]] = {
        "no key": {},
        "an invented key": {"Authorization": f"Bearer {identifier}_{secrets.token_urlsafe(len(secret))}"},
        "a cut key": {"Authorization": f"Bearer {token[:-1]}"},
        "a longer key": {"Authorization": f"Bearer {token}A"},
        "the public half": {"Authorization": f"Bearer {identifier}"},
        "another scheme": {"Authorization": f"Basic {token}"},
        "a cookie": {"Cookie": f"token={token}"},
    }
    for method, path in _operations(target):
        for caller, headers in callers.items():
            yield _attempt(target, method, path, caller, headers, {401, 405, 429})
        address = f"{path}{'&' if '?' in path else '?'}access_token={token}"
        yield _attempt(target, method, address, "a key in the address", {}, {401, 405, 429})


def with_a_lower_key(target: Target) -> Attempts:
    """The operator's routes are forbidden to the enterprise and to the regulator."""
    for method, path in _operations(target, only=_BY_OTHERS):
        for caller in ("enterprise", "regulator"):
            yield _attempt(target, method, path, caller, target.demo.tokens[caller], {403})


def _operations(target: Target, only: set[str] | None = None) -> Iterator[tuple[str, str]]:
    """(method, address) of each operation of the documented API that is not public, or of these paths only."""
    document = target.api.get("/openapi.json").json()
    for path, item in document["paths"].items():
        if path in _PUBLIC or (only is not None and path not in only):
            continue
        for method in item.keys() & {"get", "post", "put", "delete", "patch"}:
            yield method, re.sub(r"\{(\w+)\}", lambda match: _PLACEHOLDERS[match[1]], path)


def _attempt(
    target: Target, method: str, path: str, caller: str, headers: dict[str, str], refused: set[int]
) -> Attempt:
    body: dict[str, str] | None = {} if method in {"post", "put", "patch"} else None
    with httpx.Client(base_url=target.api.base_url, timeout=60) as http:  # without the cookies of another try
        status = http.request(method, path, headers=headers, json=body).status_code
    return Attempt(f"{method} {path} with {caller}", "" if status in refused else f"status {status}")


def ambiguous_requests(target: Target) -> Attempts:
    """Each service refuses a request that a proxy in front of it may read as two (RFC 9112, 11.2)."""
    for service, path in (("scan", target.product), ("api", "/v1/notices")):
        for name, request in _ambiguous(path.encode("ascii")).items():
            answer = target.raw(service, request)
            status = status_of(answer)
            served = status in range(200, 400) or answer.count(b"HTTP/1.1 ") > 1
            yield Attempt(f"{name} to {service}", f"status {status}" if served else "")


def _ambiguous(path: bytes) -> dict[str, bytes]:
    """Requests by what is wrong with them. All ask for a path that exists."""
    end = b"\r\n\r\n"
    get, post = (method + b" " + path + b" HTTP/1.1\r\nHost: a" for method in (b"GET", b"POST"))
    close = b"\r\nConnection: close"
    second = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    chunked = b"\r\nTransfer-Encoding: chunked"
    return {
        "both lengths": get + close + chunked + b"\r\nContent-Length: 4" + end + b"0\r\n\r\n" + second,
        "both lengths, posted": post + chunked + b"\r\nContent-Length: 4" + end + b"0\r\n\r\n" + second,
        "two lengths": get + close + b"\r\nContent-Length: 0\r\nContent-Length: 9" + end,
        "a signed length": get + close + b"\r\nContent-Length: +0" + end,
        "an unknown coding": get + close + b"\r\nTransfer-Encoding: xchunked" + end,
        "chunked twice": get + close + chunked + chunked + end + b"0\r\n\r\n",
        "a bare line feed": (get + close + end).replace(b"\r\n", b"\n"),
        "a folded header": get + close + b"\r\nX-A: a\r\n  b" + end,
        "a blank before the colon": get + close + b"\r\nContent-Length : 0" + end,
        "a header without a name": get + close + b"\r\n: a" + end,
        "a null byte": get + close + b"\r\nX-A: a\0b" + end,
        "a carriage return": get + close + b"\r\nX-A: a\rb" + end,
        "HTTP/1.1 without a host": b"GET " + path + b" HTTP/1.1" + close + end,
        "two hosts": get + b"\r\nHost: b" + close + end,
        "a head of 40 KiB": get + close + b"\r\nX-A: " + b"a" * 40_960 + end,
        "an address of 40 KiB": b"GET " + path + b"?" + b"a" * 40_960 + b" HTTP/1.1\r\nHost: a" + close + end,
        "a thousand headers": get + close + b"".join(b"\r\nX-%d: a" % number for number in range(1000)) + end,
        "HTTP/2.0": b"GET " + path + b" HTTP/2.0\r\nHost: a" + close + end,
        "HTTP/0.9": b"GET " + path + b"\r\n" + end,
    }
