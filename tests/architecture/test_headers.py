"""The security headers of all services stand in one file, and the proxy that serves pictures sends the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from zpcode.wire import security_headers

HOME = "zpcode/wire/security_headers.py"
NAMES = {
    name.lower()
    for surface in (
        security_headers.API,
        security_headers.PICTURE,
        security_headers.PORTAL_PAGE,
        security_headers.scan_page(""),
    )
    for name in surface
}


def spellings(root: Path) -> dict[str, set[str]]:
    """The names of security headers in each file of the three packages, in any case."""
    listed = subprocess.run(
        ["git", "ls-files", "zpcode", "scanweb", "keys"], cwd=root, check=True, capture_output=True, text=True
    )
    texts = {path: (root / path).read_bytes().decode("utf-8", "replace").lower() for path in listed.stdout.splitlines()}
    return {path: spelt for path, text in texts.items() if (spelt := {name for name in NAMES if name in text})}


def test_security_headers_are_spelt_in_one_file(root: Path) -> None:
    assert {"content-security-policy", "referrer-policy", "x-content-type-options"} <= NAMES
    assert spellings(root) == {HOME: NAMES}


def test_nginx_sends_the_headers_of_pictures(root: Path) -> None:
    """The proxy may serve the pictures itself: `add_header NAME VALUE;` for each header, with any quotes."""
    conf = (root / "deploy/nginx.conf").read_text("utf-8")
    added = {name: value.strip('"') for name, value in re.findall(r'add_header (\S+) ("[^"]*"|[^;]+);', conf)}
    assert {name: added.get(name) for name in security_headers.PICTURE} == dict(security_headers.PICTURE)
