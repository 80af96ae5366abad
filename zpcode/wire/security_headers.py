"""The security headers of every response: API, portal, scan service and product pictures.

Shared headers are defined once; the others are named after the kind of response. The Permissions-Policy of pages disables
features that a page could otherwise request from a visitor. Cache headers and CORS are not here: they depend on the resource.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_POLICY: Final = "Content-Security-Policy"
_EMBEDDED_BY: Final = "Cross-Origin-Resource-Policy"

_ALL: Final = {"X-Content-Type-Options": "nosniff"}
_TLS: Final = {"Strict-Transport-Security": "max-age=31536000"}
_NO_REFERRER: Final = {"Referrer-Policy": "no-referrer"}
_DATA: Final = _ALL | {_POLICY: "default-src 'none'; frame-ancestors 'none'"}
_PAGE: Final = (
    _ALL
    | _TLS
    | _NO_REFERRER
    | {
        "X-Frame-Options": "DENY",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)

API: Final[Mapping[str, str]] = MappingProxyType(_DATA | _NO_REFERRER | {_EMBEDDED_BY: "same-origin"})
"""Every response of the authority, unless the route sets the header itself."""

PICTURE: Final[Mapping[str, str]] = MappingProxyType(_DATA | _TLS | {_EMBEDDED_BY: "cross-origin"})
"""A product picture: any site may embed it. `deploy/nginx.conf` repeats these."""

PORTAL_PAGE: Final[Mapping[str, str]] = MappingProxyType(
    _PAGE
    | {
        "Referrer-Policy": "strict-origin",  # with no-referrer the browser sends `Origin: null` with a form
        _POLICY: "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' blob:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
        "X-Robots-Tag": "noindex, nofollow",
    }
)
"""A page of the portal; `blob:` is for the preview of a photo. No search engine may list it."""

PORTAL_FILE: Final[Mapping[str, str]] = MappingProxyType(_ALL)
"""A style sheet or script of the portal."""


def scan_page(style: str) -> dict[str, str]:
    """The headers of the scan service. `style` is the inline style sheet: CSP level 3 allows it by its SHA-256."""
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return _PAGE | {_POLICY: policy, "Cross-Origin-Opener-Policy": "same-origin"}


def raw(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as ASGI sends them: lower-case names, everything as bytes."""
    return tuple((name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items())
