"""Applications that do nothing, to compare scans with. `uvicorn loadtests.bench.empty_app:app`.

Every answer has the headers of a scan page and a body of the same size (`ZPCODE_EMPTY_BYTES`), so the server sends as
much as for a scan. `app` sends it in plain ASGI messages, `whole` in one message, and `verifying` verifies one signature
first.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from scanweb.http.exchange import Receive, Scope, Send
from scanweb.http.responses import FIXED, HTML, WHOLE_RESPONSE

BODY: Final = b"x" * int(os.environ.get("ZPCODE_EMPTY_BYTES", "8000"))
HEADERS: Final = [
    *FIXED,
    (b"content-language", b"zh-CN"),
    (b"content-type", HTML),
    (b"content-length", b"%d" % len(BODY)),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


_HEAD: Final = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in HEADERS)


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in one prepared message, as scans are answered (`scanweb.server`)."""
    if scope["type"] == "http":
        await send({"type": WHOLE_RESPONSE, "head": _HEAD, "body": [BODY]})
    else:
        await app(scope, receive, send)


MESSAGE: Final = b"zpcode/1\nAAAA\n/01/09506000134352/21/0123456789AB"
ALGORITHM: Final = ec.ECDSA(hashes.SHA256())
_KEY: Final = ec.generate_private_key(ec.SECP256R1())
PUBLIC: Final = _KEY.public_key()
SIGNATURE: Final = _KEY.sign(MESSAGE, ALGORITHM)


async def verifying(scope: Scope, receive: Receive, send: Send) -> None:
    """Verify one signature, then answer: the lowest cost a first scan can have on this server."""
    if scope["type"] == "http":
        PUBLIC.verify(SIGNATURE, MESSAGE, ALGORITHM)
    await app(scope, receive, send)
