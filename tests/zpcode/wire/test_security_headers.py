"""The security headers of each surface, written out."""

from __future__ import annotations

from zpcode.wire.security_headers import API, PICTURE, PORTAL_FILE, PORTAL_PAGE, raw, scan_page

NOTHING_LOADS = "default-src 'none'; frame-ancestors 'none'"
PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def test_the_api_answers_data() -> None:
    assert dict(API) == {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": NOTHING_LOADS,
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def test_a_picture_may_be_embedded_by_any_site() -> None:
    assert dict(PICTURE) == {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": NOTHING_LOADS,
        "Strict-Transport-Security": "max-age=31536000",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def test_a_page_of_the_portal_loads_only_from_its_own_origin() -> None:
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' blob:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    own = {"Content-Security-Policy": policy, "X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "strict-origin"}
    assert dict(PORTAL_PAGE) == PAGE | own
    assert dict(PORTAL_FILE) == {"X-Content-Type-Options": "nosniff"}


def test_a_scan_page_admits_its_style_sheet_by_hash() -> None:
    """The hash is the output of `printf 'a{}' | openssl dgst -sha256 -binary | base64`."""
    policy = (
        "default-src 'none'; style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert scan_page("a{}") == PAGE | {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def test_raw_headers_are_lower_case_bytes() -> None:
    assert raw(PORTAL_FILE) == ((b"x-content-type-options", b"nosniff"),)
