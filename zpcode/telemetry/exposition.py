"""A port of its own for whoever watches a process: metrics, and how it is. Never the public port.

Served by threads beside the work, from numbers that are there already, so that it answers while PostgreSQL, Redis or
the work itself stand still. It is bound to loopback unless an address says otherwise, takes sixteen connections at
once and gives each five seconds.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from prometheus_client import CollectorRegistry

from zpcode.telemetry import metrics

METRICS: Final = "/metrics"
HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
LOOPBACK: Final = "127.0.0.1"
AT_ONCE: Final = 16
SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)


class ExpositionResponse(NamedTuple):
    """One answer: HTTP status, media type, body."""

    status: int
    kind: str
    body: bytes


Pages = Mapping[str, Callable[[], ExpositionResponse]]


def of_metrics(registry: CollectorRegistry) -> Callable[[], ExpositionResponse]:
    """The page of a registry's metrics."""
    return lambda: ExpositionResponse(200, metrics.TEXT, metrics.page(registry))


def of_state(state: Callable[[], tuple[bool, Mapping[str, Any]]]) -> Callable[[], ExpositionResponse]:
    """A page that says in JSON how something is: 200 where all is well, 503 where not."""

    def told() -> ExpositionResponse:
        well, about = state()
        return ExpositionResponse(
            200 if well else 503, "application/json", json.dumps(about, ensure_ascii=False).encode()
        )

    return told


def address_of(text: str) -> tuple[str, int]:
    """Host and port out of `PORT`, `HOST:PORT` or `[IPv6]:PORT`; a port alone is one of loopback.

    Raises ValueError where the text is none of these.
    """
    host, _, port = text.strip().rpartition(":")
    if not port.isdecimal() or not port.isascii() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError(f"not PORT or HOST:PORT: {text}")
    return host.strip("[]") or LOOPBACK, int(port)


class Exposition:
    """Some pages on an address; a context manager. An empty address listens nowhere.

    Where the address cannot be had an error is logged and the process goes on: nobody's code stays unread because
    nobody can watch. Raises ValueError where the address is none. `port` is the one it got (0: none).
    """

    def __init__(self, address: str, pages: Pages) -> None:
        self._address = address_of(address) if address else None
        self._pages = pages
        self._server: _Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and answer in threads."""
        if self._address is None:
            return
        try:
            self._server = _Server(self._address, self._pages)
        except OSError as error:
            host, port = self._address
            about = {"address": f"{host}:{port}", "reason": error.strerror}
            _LOG.error("nobody can watch this process: its port of metrics cannot be had", extra=about)
            return
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="exposition", daemon=True).start()
        _LOG.info("metrics", extra={"address": f"{self._address[0]}:{self.port}"})

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if one is free; else hang up."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked went away, or a page failed; who it was stays out of the log."""
        del request, client_address
        _LOG.warning("an answer about this process failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SECONDS
    server_version, sys_version = "zpcode", ""

    def do_GET(self) -> None:
        """Answer with a page."""
        found = self.server.pages.get(self.path.partition("?")[0])
        answer = found() if found is not None else ExpositionResponse(404, "text/plain", b"\n".join(map(str.encode, self.server.pages)) + b"\n")  # fmt: skip
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: who asks and how often is nobody's business."""
