"""The private port of a process with its metrics and its health, for Prometheus and operators. Never the public port.

Threads of its own serve it from numbers that exist anyway, so it answers while PostgreSQL, Redis or the work of the process
hang. It listens on loopback unless the address names another host, takes sixteen connections at once, and closes a
connection that sends nothing for five seconds.
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
MAX_CONNECTIONS: Final = 16
SECONDS: Final = 5.0
_LOG = logging.getLogger(__name__)


class ExpositionResponse(NamedTuple):
    """HTTP status, media type and body of one answer."""

    status: int
    media_type: str
    body: bytes


Pages = Mapping[str, Callable[[], ExpositionResponse]]


def of_metrics(registry: CollectorRegistry) -> Callable[[], ExpositionResponse]:
    """A page with the metrics of a registry."""
    return lambda: ExpositionResponse(200, metrics.TEXT, metrics.page(registry))


def of_state(state: Callable[[], tuple[bool, Mapping[str, Any]]]) -> Callable[[], ExpositionResponse]:
    """A page with a state as JSON: status 200 if `state` says that all is well, else 503."""

    def answer() -> ExpositionResponse:
        well, details = state()
        body = json.dumps(details, ensure_ascii=False).encode()
        return ExpositionResponse(200 if well else 503, "application/json", body)

    return answer


def address_of(text: str) -> tuple[str, int]:
    """Host and port from `PORT`, `HOST:PORT` or `[IPv6]:PORT`. A port alone is a port of loopback.

    Raises ValueError for any other text.
    """
    host, _, port = text.strip().rpartition(":")
    if not port.isdecimal() or not port.isascii() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError(f"not PORT or HOST:PORT: {text}")
    return host.strip("[]") or LOOPBACK, int(port)


class Exposition:
    """Serves pages on an address; a context manager. With an empty address it does not listen.

    If the address cannot be opened, it logs an error and the process works on: scans matter more than metrics. Raises
    ValueError if the text is not an address. `port` is the port it listens on, 0 without one.
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
        """Listen, and answer in separate threads."""
        if self._address is None:
            return
        try:
            self._server = _Server(self._address, self._pages)
        except OSError as error:
            host, port = self._address
            details = {"address": f"{host}:{port}", "reason": error.strerror}
            _LOG.error("the port for metrics cannot be opened; the process works on without it", extra=details)
            return
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="exposition", daemon=True).start()
        _LOG.info("metrics", extra={"address": f"{self._address[0]}:{self.port}"})

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; if sixteen are busy, close the connection."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, then free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that the client disconnected or that a page failed. The client's address stays out of the log."""
        del request, client_address
        _LOG.warning("a request for metrics or health failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SECONDS
    server_version, sys_version = "zpcode", ""

    def do_GET(self) -> None:
        """Answer with a page."""
        page = self.server.pages.get(self.path.partition("?")[0], self._not_found)
        answer = page()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _not_found(self) -> ExpositionResponse:
        """The paths that exist, one a line."""
        return ExpositionResponse(404, "text/plain", "".join(f"{path}\n" for path in self.server.pages).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Log no requests: Prometheus sends one every few seconds."""
