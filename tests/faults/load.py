"""Consumers who keep scanning during a fault, their responses, and what must hold for all responses.

Every response is kept as a `ScanResponse`; the functions at the end select the responses that a test judges.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.patience import eventually
from tests.support.scan_factories import IPHONE


@dataclass(frozen=True, slots=True)
class ScanResponse:
    """One answer. `began` and `ended` are monotonic seconds; `scans` is None where the response has no history."""

    began: float
    ended: float
    port: int
    path: str
    visitor: str
    status: int
    verdict: str
    tone: str
    scans: int | None


class Phone:
    """One phone with a connection kept open; every scan has another visitor's address in X-Forwarded-For."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def scan(self, path: str, visitor: str) -> ScanResponse:
        """The service's JSON response for a code. Raises OSError or http.client.HTTPException."""
        headers = {"Accept": "application/json", "User-Agent": IPHONE, "X-Forwarded-For": visitor}
        began = time.monotonic()
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        document: dict[str, Any] = (
            json.loads(body) if response.status == 200 else {"verdict": "", "tone": "", "history": None}
        )
        history = document["history"]
        scans = None if history is None else int(history["scans"])
        ended = time.monotonic()
        return ScanResponse(
            began, ended, self.port, path, visitor, response.status, document["verdict"], document["tone"], scans
        )

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


_VISITORS = itertools.count(1)


def visitor() -> str:
    """A new visitor: an address whose network no other visitor has."""
    number = next(_VISITORS)
    return f"{11 + number // 65536}.{number // 256 % 256}.{number % 256}.7"


class Load:
    """Several consumers on every port, each scanning all these codes in a different order, until the block ends.

    `responses` grows meanwhile. A scan without a response ends the test: `check` raises the consumer's error.
    """

    def __init__(self, ports: Sequence[int], paths: Sequence[str], *, clients: int = 3, pause: float = 0.02) -> None:
        self.responses: list[ScanResponse] = []
        self._paths, self._pause, self._ports = paths, pause, ports
        self._end = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._scan, args=(port, number)) for number in range(clients) for port in ports
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        if error is None:
            self.check()

    def _scan(self, port: int, number: int) -> None:
        paths, consumer = list(self._paths), Phone(port)
        random.Random(f"{port}/{number}").shuffle(paths)
        try:
            for path in itertools.cycle(paths):
                if self._end.wait(self._pause):
                    break
                self.responses.append(consumer.scan(path, visitor()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._failures.append(error)
        finally:
            consumer.close()

    def check(self) -> None:
        """Check that every scan was answered with 200: no 5xx, no connection broken off."""
        if self._failures:
            raise self._failures[0]
        assert {response.status for response in self.responses} <= {200}

    def more(self, number: int = 60) -> list[ScanResponse]:
        """Responses to scans that begin from now on: at least `number` of every process."""
        since = time.monotonic()

        def enough() -> bool:
            self.check()
            return all(len(self.since(since, port)) >= number for port in self._ports)

        eventually(enough, seconds=60)
        return self.since(since)

    def until_all_are_answered(self) -> None:
        """Wait until every process has answered every code."""
        expected = {(port, path) for port in self._ports for path in self._paths}

        def all_are() -> bool:
            self.check()
            return {(response.port, response.path) for response in list(self.responses)} >= expected

        eventually(all_are, seconds=60)

    def since(self, moment: float, port: int | None = None) -> list[ScanResponse]:
        """Responses to scans that began at this moment or later."""
        return [
            response for response in list(self.responses) if response.began >= moment and port in {None, response.port}
        ]

    def until_each(self, fits: Callable[[ScanResponse], bool]) -> float:
        """Wait until every process has given a response that fits; returns that moment."""
        since = time.monotonic()

        def all_have() -> bool:
            self.check()
            return {response.port for response in self.since(since) if fits(response)} >= set(self._ports)

        eventually(all_have, seconds=60)
        return time.monotonic()


def neutral(response: ScanResponse) -> bool:
    """Whether the verdict is unconfirmed."""
    return response.verdict == "unconfirmed"


def good(responses: Iterable[ScanResponse], paths: Collection[str]) -> list[ScanResponse]:
    """Responses that show one of these codes in green. For revoked codes there must be none."""
    return [response for response in responses if response.path in paths and response.tone == "good"]


def firsts(responses: Iterable[ScanResponse]) -> dict[str, int]:
    """How many different visitors were told that they are the first, by code."""
    visitors: dict[str, set[str]] = defaultdict(set)
    for response in responses:
        if response.scans == 1:
            visitors[response.path].add(response.visitor)
    return {path: len(who) for path, who in visitors.items()}
