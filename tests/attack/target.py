"""What the attacks are run against: a running demo, and what each kind of attacker has of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from redis import Redis

from tests.attack.processes import further_process
from tests.e2e.demo_running import Demo
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.wire.link import path_of

SECONDS = 60.0
"""How long an attack waits for one answer. Long, because the machine may be busy; an attack that works takes longer."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of an attack. `breach` says what the attacker got; empty if the try failed as it must."""

    name: str
    breach: str = ""


Attempts = Iterator[Attempt]


@dataclass(frozen=True)
class Target:
    """A running demo."""

    demo: Demo

    @cached_property
    def servers(self) -> ServerAddresses:
        """The addresses of the servers with each service's credentials."""
        return Servers(self.demo.home).addresses

    @property
    def signer(self) -> Path:
        """The signer's socket."""
        return self.demo.home / "run" / "signer.sock"

    @property
    def api(self) -> httpx.Client:
        """A client of the API."""
        return self.demo.api

    @property
    def product(self) -> str:
        """The path of a genuine product code."""
        return path_of(self.demo.links[-4])

    @property
    def item(self) -> str:
        """The path of a genuine item code."""
        return path_of(self.demo.links[-2])

    @property
    def compact(self) -> str:
        """The path of a genuine compact code."""
        return path_of(self.demo.links[-1])

    @contextmanager
    def scan_redis(self) -> Iterator[Redis]:
        """Redis with the credentials of the scan service."""
        redis = Redis.from_url(self.servers.scan_redis, socket_timeout=SECONDS)
        try:
            yield redis
        finally:
            redis.close()

    @contextmanager
    def authority_behind_a_proxy(self) -> Iterator[httpx.Client]:
        """A further process of the authority that trusts the addresses which a proxy on this machine names."""
        options = ("--http", "zpcode.server:AuthorityProtocol", "--proxy-headers", "--forwarded-allow-ips", "127.0.0.1")
        with (
            further_process(self.demo.home, "zpcode.app:create_app", *options) as base,
            httpx.Client(base_url=base, timeout=SECONDS) as http,
        ):
            yield http

    @contextmanager
    def scans_behind_a_proxy(self) -> Iterator[httpx.Client]:
        """A further process of the scan service that trusts the addresses which a proxy on this machine names."""
        options = ("--http", "scanweb.server:Protocol", "--loop", "uvloop", "--no-proxy-headers")
        trusted = {"ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8"}
        with (
            further_process(self.demo.home, "scanweb.app:create_app", *options, **trusted) as base,
            httpx.Client(base_url=base, timeout=SECONDS) as http,
        ):
            yield http

    def scan(self, path: str, language: str = "en", agent: str = "Mozilla/5.0 (phone)") -> dict[str, Any]:
        """What the scan service says about a code, as JSON."""
        headers = {"Accept": "application/json", "Accept-Language": language, "User-Agent": agent}
        answer: dict[str, Any] = httpx.get(self.demo.scan + path, headers=headers, timeout=SECONDS).json()
        return answer

    def revoke(self, scope: str, target: str) -> None:
        """Revoke something as the operator. Raises AssertionError if that fails."""
        body = {"scope": scope, "target": target, "action": "revoke", "reason": "counterfeit-confirmed",
                "legal_basis": "产品质量法", "note": {"zh": "标签被仿冒", "en": "the label was copied"}}  # fmt: skip
        answer = self.api.post("/v1/status-changes", json=body, headers=self.demo.tokens["operator"])
        assert answer.status_code in {200, 201}, answer.text

    def raw(self, service: str, request: bytes, source: str = "") -> bytes:
        """The answer to raw bytes, until the service closes the connection or waits. `service`: `scan` or `api`."""
        address = urlsplit(self.demo.scan if service == "scan" else str(self.api.base_url))
        origin = (source, 0) if source else None
        with socket.create_connection((address.hostname or "", address.port or 80), SECONDS, origin) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            return answer


def status_of(answer: bytes) -> int:
    """The status of the first response in raw bytes; 0 if the connection was closed without one."""
    parts = answer.split(b" ", 2)
    return int(parts[1]) if len(parts) > 2 and parts[0].startswith(b"HTTP/") else 0


def finding(text: str) -> dict[str, Any]:
    """A problem document, or an empty dictionary if the text is something else."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
