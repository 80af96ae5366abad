"""Whether another site made a reader's browser send a request.

A page of another site can send a form of ours (cross-site request forgery): the browser adds the reader's address, and later
the reader's session. Browsers say where a form came from, and no page can change what they say:

- `Sec-Fetch-Site` (Fetch Metadata; Chrome 76, Firefox 90, Safari 16.4). Only `same-origin` is accepted. `same-site` is
  another host of the same domain, such as the scan service.
- `Origin` (RFC 6454, 7), for browsers without it. It has to name the host that the request was sent to. A sandboxed page
  and a `data:` URL send `null`. Our pages do not (`PORTAL_PAGE` in `zpcode.wire.security_headers`).

A page of another site can also embed a page of ours, as an image or a frame, so that the browsers of its visitors use up
limits of theirs. `Sec-Fetch-Dest` and `Sec-Fetch-Mode` tell such a request from a link that a reader follows.

A request with neither header comes from a program or a very old browser. It is accepted: the token of the form decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether the headers of a request say that a page of another origin sent it."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site != "same-origin"
    return origin is not None and not _names(origin, headers.get("host", ""))


def is_embedded(headers: Mapping[str, str]) -> bool:
    """Whether the headers of a request say that a page of another origin embeds the response or fetches it with a script."""
    if headers.get("sec-fetch-site", "none") in {"same-origin", "none"}:
        return False
    return (
        headers.get("sec-fetch-dest", "document") != "document"
        or headers.get("sec-fetch-mode", "navigate") != "navigate"
    )


def _names(origin: str, host: str) -> bool:
    """Whether an origin is that of a host. A proxy may pass on the host without its port (nginx: `$host`)."""
    try:
        parts = urlsplit(origin.lower())
        names = {parts.netloc, parts.netloc.removesuffix(f":{parts.port}")}
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and host != "" and host.lower() in names
