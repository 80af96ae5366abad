"""What browsers say about the page that sent a form."""

from __future__ import annotations

import pytest

from zpcode.portal.shell.cross_site import is_cross_site, is_embedded

OURS = "https://api.zpm.example"


@pytest.mark.parametrize(
    ("headers", "cross"),
    [
        ({"sec-fetch-site": "same-origin", "origin": OURS}, False),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, False),
        ({"sec-fetch-site": "same-site", "origin": "https://zpm.example"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, True),
        ({"sec-fetch-site": "cross-site", "origin": OURS}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": ""}, True),
        ({"origin": OURS}, False),
        ({"origin": OURS.upper()}, False),
        ({"origin": f"{OURS}:8443", "host": "api.zpm.example:8443"}, False),
        ({"origin": f"{OURS}:8443"}, False),
        ({"origin": OURS, "host": "api.zpm.example:8443"}, True),
        ({"origin": "https://zpm.example"}, True),
        ({"origin": "https://api.zpm.example.evil.example"}, True),
        ({"origin": "https://evil.example/api.zpm.example"}, True),
        ({"origin": "https://api.zpm.example@evil.example"}, True),
        ({"origin": "https://evil.example:api.zpm.example"}, True),
        ({"origin": "file://api.zpm.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "null", "host": "null"}, True),
        ({"origin": ""}, True),
        ({"origin": "", "host": ""}, True),
        ({"origin": OURS, "host": ""}, True),
        ({}, False),
    ],
)
def test_a_request_is_of_the_site_that_its_browser_names(headers: dict[str, str], *, cross: bool) -> None:
    assert is_cross_site({"host": "api.zpm.example"} | headers) is cross


@pytest.mark.parametrize(
    ("site", "dest", "mode", "embedded"),
    [
        ("cross-site", "image", "no-cors", True),
        ("cross-site", "iframe", "navigate", True),
        ("cross-site", "empty", "cors", True),
        ("same-site", "image", "no-cors", True),
        ("cross-site", None, "no-cors", True),
        ("cross-site", "document", "navigate", False),
        ("cross-site", None, None, False),
        ("same-origin", "image", "no-cors", False),
        ("same-origin", "empty", "cors", False),
        ("none", "document", "navigate", False),
        (None, None, None, False),
    ],
)
def test_what_another_site_embeds_is_told_from_a_link(
    site: str | None, dest: str | None, mode: str | None, embedded: bool
) -> None:
    sent = {"sec-fetch-site": site, "sec-fetch-dest": dest, "sec-fetch-mode": mode}
    assert is_embedded({name: value for name, value in sent.items() if value is not None}) is embedded
