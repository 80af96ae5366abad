"""Virtual users for Locust: consumers and scrapers. Each checks the answers that it gets.

Profiles (`loadtests/profiles`) define subclasses that say what is scanned. This module imports Locust, which patches the
standard library, so only Locust's processes import it.
"""

from __future__ import annotations

import time
from random import Random
from typing import ClassVar, Final

import gevent
from locust import FastHttpUser, task
from locust.contrib.fasthttp import ResponseContextManager

from loadtests.load import figures
from loadtests.users import people
from loadtests.users.shared_state import SharedState
from loadtests.users.verdicts import Answer, ScanKind, is_right, kind_during, read_answer

_BEHIND_SECONDS: Final = 5.0


class VirtualUser(FastHttpUser):
    """A virtual user with random turns, `turns_per_second` on average (a Poisson process).

    A user that had to wait for an answer catches up for at most five seconds, so slow answers do not reduce the load.
    """

    abstract = True
    network_timeout = 10.0
    connection_timeout = 10.0
    turns_per_second: ClassVar[float] = 1.0
    share: ClassVar[float] = 0.0  # users for each scan a second; 0 for consumers: their number follows the curve
    role: ClassVar[str] = figures.CONSUMER
    may_be_limited: ClassVar[bool] = False

    def on_start(self) -> None:
        """Start at a random moment, because Locust starts users in groups."""
        self.shared: SharedState = self.environment.shared
        self.rng = Random()  # noqa: S311 - no secret depends on it
        self._due = time.monotonic()
        gevent.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds until the next turn."""
        now = time.monotonic()
        self._due = max(self._due, now - _BEHIND_SECONDS) + self.rng.expovariate(self.turns_per_second)
        return max(0.0, self._due - now)

    def scan(self, path: str, *subjects: str, kind: ScanKind | None = None, name: str = "scan", method: str = "GET",
             headers: dict[str, str] | None = None) -> Answer:  # fmt: skip
        """Scan once and check the answer. `subjects` are further keys in the ledger; `kind` overrides the ledger."""
        sent = headers or people.headers(self.rng, as_json=self.rng.random() < 0.05)
        keys = (path, *subjects)
        before = self.shared.ledger.of(*keys) if kind is None else kind
        with self.client.request(method, path, name=name, headers=sent, catch_response=True) as response:
            # The response to HEAD has no body but a Content-Encoding: the client would fail to decompress it.
            body = b"" if method == "HEAD" else response.content or b""
            answer = read_answer(method, response.status_code, body, as_json="json" in sent["Accept"])
            scanned = kind_during(before, self.shared.ledger.of(*keys)) if kind is None else kind
            right = is_right(scanned, answer, may_be_limited=self.may_be_limited)
            report(response, right, f"{scanned} → {answer}")
        self.shared.record(self.role, scanned, answer, response.request_meta["response_time"], right=right)
        return answer


def report(response: ResponseContextManager, right: bool, reason: str) -> None:
    """Tell Locust whether a response was right, whatever its status code."""
    if right:
        response.success()
    else:
        response.failure(reason)


class Consumer(VirtualUser):
    """A series of consumers, each a new person: one scan a second on average. Profiles add the tasks."""

    abstract = True

    def item(self, section: str, *subjects: str) -> Answer:
        """Scan a random item code of a section of the sample."""
        return self.scan(self.shared.sample.draw(section, self.rng), *subjects, name=f"scan {section}")

    def other(self) -> Answer:
        """Scan something else: a code of another level, a typed serial, a forgery, a preview."""
        contents, path = self.shared.sample.contents, self.shared.sample.draw("ordinary", self.rng)
        match self.rng.randrange(10):
            case 0 | 1:
                return self.scan(self.rng.choice(contents.product_codes), name="scan product code")
            case 2 | 3:
                return self.scan(self.rng.choice(contents.lot_codes), name="scan lot code")
            case 4 | 5:
                return self.scan(self.rng.choice(contents.compact_codes), name="scan compact code")
            case 6:
                return self.scan(people.forged(path, self.rng), kind=ScanKind.FORGED, name="scan forged")
            case 7:
                typed = f"/q?code={path.rpartition('/')[2]}"
                return self.scan(typed, kind=ScanKind.UNSEALED, name="type a serial")
            case _:
                return self.preview(path)

    def preview(self, path: str) -> Answer:
        """Send a HEAD request, as messengers do to show a preview of a link."""
        sent = people.headers(self.rng) | {"User-Agent": people.PREVIEWER}
        return self.scan(path, kind=ScanKind.PREVIEW, name="preview", method="HEAD", headers=sent)


class Shopper(Consumer):
    """A person in a shop: one scan of three is of a popular product. The weights add up to 90; profiles may add 10."""

    abstract = True

    @task(60)
    def scan_ordinary(self) -> None:
        """A product that is not popular."""
        self.item("ordinary")

    @task(30)
    def scan_popular(self) -> None:
        """A popular product."""
        self.item("popular")


class Guesser(VirtualUser):
    """A scraper that guesses codes from one address and ignores 429."""

    abstract = True
    role = figures.GUESSER
    may_be_limited = True
    turns_per_second = 10.0

    def on_start(self) -> None:
        """Choose one address."""
        super().on_start()
        self.address = people.scraper_address(self.rng.randrange(512))

    def guess(self) -> None:
        """Scan a code that was not issued, made from an issued one."""
        path = people.forged(self.shared.sample.draw("ordinary", self.rng), self.rng)
        sent = people.headers(self.rng) | {"X-Forwarded-For": self.address, "User-Agent": "python-requests/2.32"}
        self.scan(path, kind=ScanKind.FORGED, name="guess", headers=sent)
