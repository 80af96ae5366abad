"""One HTTP request as the scan service reads it: ASGI's types, and the headers and query fields it uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from zpcode.language.negotiation import one_line

Scope = MutableMapping[str, Any]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Headers = tuple[tuple[bytes, bytes], ...]


class Request(msgspec.Struct):
    """The headers and query fields that are used. `asked_…` are from the query and win over the headers.

    `embedded`: the browser fetches the page for another page, as an image, a frame or by a script (Fetch Metadata:
    `Sec-Fetch-Dest`), and not because a person opened it.
    """

    method: str
    agent: str = ""
    accept: str = ""
    languages: str = ""
    encodings: str = ""
    purpose: str = ""
    embedded: bool = False
    forwarded: tuple[str, ...] = ()
    asked_language: str = ""
    asked_format: str = ""
    large: bool = False

    @classmethod
    def read(cls, scope: Scope) -> Request:
        """Read a request from an ASGI scope. Headers are read as Latin-1 (RFC 9110, section 5.5), at most 512 bytes of each.

        The values are searched and cached, and a server may let headers of any length pass.
        """
        agent, accept, languages, encodings, purpose = "", "", "", "", ""
        embedded = False
        forwarded: tuple[str, ...] = ()
        # One loop on local names: a call for each header would take a scan 0.4 µs.
        for name, value in scope["headers"]:
            if name not in _READ:
                continue
            if name == b"user-agent":
                agent = value[:HEADER_BYTES].decode("latin-1")
            elif name == b"accept":
                accept = _joined(accept, value) if accept else value[:HEADER_BYTES].decode("latin-1")
            elif name == b"accept-language":
                languages = _joined(languages, value) if languages else value[:HEADER_BYTES].decode("latin-1")
            elif name == b"accept-encoding":
                encodings = _joined(encodings, value) if encodings else value[:HEADER_BYTES].decode("latin-1")
            elif name == b"x-forwarded-for":
                forwarded += (value[-HEADER_BYTES:].decode("latin-1"),)  # only the right-most addresses count
            elif name == b"sec-fetch-dest":
                embedded = embedded or value != b"document"
            else:
                purpose = (purpose + value[:HEADER_BYTES].decode("latin-1"))[:HEADER_BYTES]
        request = cls(scope["method"], agent, accept, languages, encodings, purpose, embedded, forwarded)
        if scope["query_string"]:
            request._read_query(scope["query_string"])
        return request

    def _read_query(self, query: bytes) -> None:
        try:
            values = parse_qs(query[:2048].decode("ascii", "replace"), max_num_fields=16)
        except ValueError:
            return
        self.asked_language = values.get("lang", [""])[0]
        self.asked_format = values.get("format", [""])[0]
        self.large = values.get("size") == ["large"]


def _joined(earlier: str, line: bytes) -> str:
    """A list with one more of its lines: a client or proxy may send a list in several headers (RFC 9110, 5.3)."""
    return one_line((earlier, line[:HEADER_BYTES].decode("latin-1")))[:HEADER_BYTES]


HEADER_BYTES: Final = 512

_READ: Final = frozenset(
    {
        b"user-agent",
        b"accept",
        b"accept-language",
        b"accept-encoding",
        b"sec-fetch-dest",
        b"x-forwarded-for",
        b"purpose",
        b"sec-purpose",
        b"x-purpose",
        b"x-moz",
    }
)
