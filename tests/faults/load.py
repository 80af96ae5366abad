"""Consumers who keep scanning while something falls: what each was told, and the judgements on all of it.

Every answer is kept as a `Told`; the functions below are what may never be untrue, whatever falls.
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
class Told:
    """One answer. `began` and `ended` are monotonic seconds; `scans` is None where no history was told."""

    began: float
    ended: float
    port: int
    path: str
    visitor: str
    status: int
    verdict: str
    tone: str
    scans: int | None


class Consumer:
    """One phone with a connection kept open; every scan is another visitor's, told by X-Forwarded-For."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def scan(self, path: str, visitor: str) -> Told:
        """What the service says of a code, as JSON. Raises OSError or http.client.HTTPException."""
        headers = {"Accept": "application/json", "User-Agent": IPHONE, "X-Forwarded-For": visitor}
        began = time.monotonic()
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        found: dict[str, Any] = (
            json.loads(body) if response.status == 200 else {"verdict": "", "tone": "", "history": None}
        )
        history = found["history"]
        scans = None if history is None else int(history["scans"])
        ended = time.monotonic()
        return Told(began, ended, self.port, path, visitor, response.status, found["verdict"], found["tone"], scans)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


_VISITORS = itertools.count(1)


def visitor() -> str:
    """An address in a network of its own: somebody who was never here before."""
    number = next(_VISITORS)
    return f"{11 + number // 65536}.{number // 256 % 256}.{number % 256}.7"


class Load:
    """Several consumers on every port, each over all these codes in an order of its own, until the block ends.

    `told` grows meanwhile. A consumer who is not answered at all ends the test: `check` raises what they met.
    """

    def __init__(self, ports: Sequence[int], paths: Sequence[str], *, clients: int = 3, pause: float = 0.02) -> None:
        self.told: list[Told] = []
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
        paths, consumer = list(self._paths), Consumer(port)
        random.Random(f"{port}/{number}").shuffle(paths)
        try:
            for path in itertools.cycle(paths):
                if self._end.wait(self._pause):
                    break
                self.told.append(consumer.scan(path, visitor()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._failures.append(error)
        finally:
            consumer.close()

    def check(self) -> None:
        """Everybody was answered, and with a page about the code: no 5xx, no connection broken off."""
        if self._failures:
            raise self._failures[0]
        assert {told.status for told in self.told} <= {200}

    def more(self, number: int = 60) -> list[Told]:
        """Answers to scans that begin from now on: at least `number` of every process."""
        since = time.monotonic()

        def enough() -> bool:
            self.check()
            return all(len(self.since(since, port)) >= number for port in self._ports)

        eventually(enough, seconds=60)
        return self.since(since)

    def until_all_are_known(self) -> None:
        """Wait until every process has answered every code."""
        known = {(port, path) for port in self._ports for path in self._paths}

        def all_are() -> bool:
            self.check()
            return {(told.port, told.path) for told in list(self.told)} >= known

        eventually(all_are, seconds=60)

    def since(self, moment: float, port: int | None = None) -> list[Told]:
        """Answers to scans that began at this moment or later."""
        return [told for told in list(self.told) if told.began >= moment and port in {None, told.port}]

    def until_each(self, fits: Callable[[Told], bool]) -> float:
        """Wait until every process has given such an answer; returns the moment the last of them had."""
        since = time.monotonic()

        def all_have() -> bool:
            self.check()
            return {told.port for told in self.since(since) if fits(told)} >= set(self._ports)

        eventually(all_have, seconds=60)
        return time.monotonic()


def neutral(told: Told) -> bool:
    """Whether nobody could say."""
    return told.verdict == "unconfirmed"


def good(told: Iterable[Told], paths: Collection[str]) -> list[Told]:
    """Answers that make one of these codes look good: of revoked ones there must be none."""
    return [one for one in told if one.path in paths and one.tone == "good"]


def firsts(told: Iterable[Told]) -> dict[str, int]:
    """How many different visitors were told that they are the first, by code."""
    visitors: dict[str, set[str]] = defaultdict(set)
    for one in told:
        if one.scans == 1:
            visitors[one.path].add(one.visitor)
    return {path: len(found) for path, found in visitors.items()}


def told_twice(told: Iterable[Told]) -> dict[tuple[str, int], Any]:
    """Numbers of views that two visitors were told of one code."""
    visitors: dict[tuple[str, int], set[str]] = defaultdict(set)
    for one in told:
        if one.scans is not None and one.scans > 0:
            visitors[one.path, one.scans].add(one.visitor)
    return {key: found for key, found in visitors.items() if len(found) > 1}
