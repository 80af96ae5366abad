"""An application that does nothing: the measure against which a scan is held. `uvicorn loadtests.empty:app`.

Every answer has the headers of a scan page and a body of as many bytes, so that the server does for it exactly what it
does for a scan. How many: `ZPCODE_EMPTY_BYTES`.
"""

from __future__ import annotations

import os
from typing import Final

from scanweb.routes import FIXED, HTML, Receive, Scope, Send

BODY: Final = b"x" * int(os.environ.get("ZPCODE_EMPTY_BYTES", "8000"))
HEADERS: Final = [
    *FIXED,
    (b"content-language", b"zh-CN"),
    (b"content-type", HTML),
    (b"content-length", b"%d" % len(BODY)),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, whatever is asked."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
