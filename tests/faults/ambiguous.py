"""Requests that two servers could read differently: each is refused with 400, and the connection ends with it."""

from __future__ import annotations

from typing import Final

_GET: Final = b"GET / HTTP/1.1\r\nhost: a\r\n"
_POST: Final = b"POST / HTTP/1.1\r\nhost: a\r\n"
AMBIGUOUS: Final = {
    "both lengths": _GET + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked first": _GET + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": _GET + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "one length twice": _POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx",
    "a list of lengths": _POST + b"content-length: 1, 1\r\n\r\nx",
    "signed length": _GET + b"content-length: +5\r\n\r\nhello",
    "hexadecimal length": _POST + b"content-length: 0x1\r\n\r\nx",
    "length beyond 64 bits": _POST + b"content-length: 99999999999999999999\r\n\r\nx",
    "chunked, then something": _GET + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": _POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity, then chunked in a second line": _POST
    + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed, then chunked in a second line": _POST
    + b"transfer-encoding: gzip\r\nx: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no coding, then chunked in a second line": _POST
    + b"transfer-encoding:\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "not quite chunked": _POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk beyond 64 bits": _POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\nx\r\n0\r\n\r\n",
    "chunk longer than it says": _POST + b"transfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
    "LF alone in chunks": _POST + b"transfer-encoding: chunked\r\n\r\n1\nx\n0\n\n",
    "LF alone": b"GET / HTTP/1.1\nhost: a\n\n",
    "LF alone behind the request line": b"GET / HTTP/1.1\nhost: a\r\n\r\n",
    "LF alone behind a field": b"GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n",
    "LF alone as the blank line": _GET + b"\n",
    "CR alone": b"GET / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n",
    "folded field": _GET + b"x: b\r\n c\r\n\r\n",
    "folded field with a tab": _GET + b"x: b\r\n\tc\r\n\r\n",
    "folded first field": b"GET / HTTP/1.1\r\n host: a\r\n\r\n",
    "folded length": _POST + b"content-length:\r\n 1\r\n\r\nx",
    "space before colon": b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    "no colon": _GET + b"xyz\r\n\r\n",
    "field without a name": _GET + b": b\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
    "space in the path": b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
    "path without a slash": b"GET a HTTP/1.1\r\nhost: a\r\n\r\n",
    "address without a path": b"GET http://[/a HTTP/1.1\r\nhost: a\r\n\r\n",
    "path outside ASCII": "GET /中 HTTP/1.1\r\nhost: a\r\n\r\n".encode(),
    "method in small letters": b"get / HTTP/1.1\r\nhost: a\r\n\r\n",
    "no such method": b"FETCH / HTTP/1.1\r\nhost: a\r\n\r\n",
    "tab behind the method": b"GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": _GET + b"host: b\r\n\r\n",
    "one host twice": _GET + b"Host: a\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed chunks": _POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\nhost: a\r\n\r\n",
    "no version": b"GET /\r\nhost: a\r\n\r\n",
    "no version and no field": b"GET /\r\n\r\n",
    "version 2": b"GET / HTTP/2.0\r\nhost: a\r\n\r\n",
    "version 2, kept alive": b"GET / HTTP/2.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
    "CONNECT with a body": b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx",
    "upgrade with a body": _POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 1\r\n\r\nx",
}
