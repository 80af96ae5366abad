"""Virtual users for Locust: consumers and scrapers. Each checks what it is told.

Profiles (`loadtests/profiles`) make classes of them that say who scans what. Importing this imports Locust, which
patches the standard library: only Locust's own processes do that.
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
from loadtests.users.stage import Stage
from loadtests.users.verdicts import Said, What, is_right, said, seen

_BEHIND_SECONDS: Final = 5.0


class Somebody(FastHttpUser):
    """Whoever comes at moments of their own: `pace` times a second on average, like strangers (a Poisson process).

    Whoever was kept waiting makes up for it, up to five seconds' worth: load does not fall because answers are slow.
    """

    abstract = True
    network_timeout = 10.0
    connection_timeout = 10.0
    pace: ClassVar[float] = 1.0
    share: ClassVar[float] = 0.0  # how many of them for each scan a second of the run; 0: consumers, by the curve
    who: ClassVar[str] = figures.CONSUMER
    in_a_hurry: ClassVar[bool] = False

    def on_start(self) -> None:
        """Arrive at any moment of the first turn: Locust brings users to life in groups."""
        self.stage: Stage = self.environment.stage
        self.luck = Random()  # noqa: S311 - who scans next is no secret
        self._due = time.monotonic()
        gevent.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds until the next turn."""
        now = time.monotonic()
        self._due = max(self._due, now - _BEHIND_SECONDS) + self.luck.expovariate(self.pace)
        return max(0.0, self._due - now)

    def scan(self, path: str, *subjects: str, what: What | None = None, name: str = "scan", method: str = "GET",
             headers: dict[str, str] | None = None) -> Said:  # fmt: skip
        """One scan, checked. `subjects` are what the ledger may know of it, `what` overrules the ledger."""
        sent = headers or people.headers(self.luck, as_json=self.luck.random() < 0.05)
        known = (path, *subjects)
        before = self.stage.ledger.of(*known) if what is None else what
        with self.client.request(method, path, name=name, headers=sent, catch_response=True) as answer:
            # The answer to HEAD has no body, but a Content-Encoding: the client would fail to decompress nothing.
            body = b"" if method == "HEAD" else answer.content or b""
            told = said(method, answer.status_code, body, as_json="json" in sent["Accept"])
            thing = seen(before, self.stage.ledger.of(*known)) if what is None else what
            right = is_right(thing, told, in_a_hurry=self.in_a_hurry)
            report(answer, right, f"{thing} → {told}")
        self.stage.note(self.who, thing, told, answer.request_meta["response_time"], right=right)
        return told


def report(answer: ResponseContextManager, right: bool, words: str) -> None:
    """Tell Locust whether an answer was right, whatever its status code."""
    if right:
        answer.success()
    else:
        answer.failure(words)


class Consumer(Somebody):
    """Consumers, one after another, each a new one: one scan a second on average. `abstract` for profiles to fill."""

    abstract = True

    def item(self, section: str, *subjects: str) -> Said:
        """Scan any item code of a section of the sample."""
        return self.scan(self.stage.sample.draw(section, self.luck), *subjects, name=f"scan {section}")

    def other(self) -> Said:
        """What else comes on any day: other kinds of code, numbers typed by hand, forgeries, previews."""
        contents, path = self.stage.sample.contents, self.stage.sample.draw("ordinary", self.luck)
        match self.luck.randrange(10):
            case 0 | 1:
                return self.scan(self.luck.choice(contents.product_codes), name="scan product code")
            case 2 | 3:
                return self.scan(self.luck.choice(contents.lot_codes), name="scan lot code")
            case 4 | 5:
                return self.scan(self.luck.choice(contents.compact_codes), name="scan compact code")
            case 6:
                return self.scan(people.forged(path, self.luck), what=What.FORGED, name="scan forged")
            case 7:
                typed = f"/q?code={path.rpartition('/')[2]}"
                return self.scan(typed, what=What.UNSEALED, name="type a serial")
            case _:
                return self.preview(path)

    def preview(self, path: str) -> Said:
        """A request for the head of a page, as messengers send it to show a preview of a link."""
        sent = people.headers(self.luck) | {"User-Agent": people.PREVIEWER}
        return self.scan(path, what=What.PREVIEW, name="preview", method="HEAD", headers=sent)


class Shopper(Consumer):
    """Somebody in a shop: one scan of three is of a popular product. `abstract` for profiles to add to, up to 100."""

    abstract = True

    @task(60)
    def scan_ordinary(self) -> None:
        """Any product."""
        self.item("ordinary")

    @task(30)
    def scan_popular(self) -> None:
        """One that many buy."""
        self.item("popular")


class Guesser(Somebody):
    """A scraper that guesses, always from one address, and does not wait when it is told to."""

    abstract = True
    who = figures.GUESSER
    in_a_hurry = True
    pace = 10.0

    def on_start(self) -> None:
        """Take an address, and keep it."""
        super().on_start()
        self.address = people.scraper_address(self.luck.randrange(512))

    def guess(self) -> None:
        """One code that nobody issued, made from one that somebody did."""
        path = people.forged(self.stage.sample.draw("ordinary", self.luck), self.luck)
        sent = people.headers(self.luck) | {"X-Forwarded-For": self.address, "User-Agent": "python-requests/2.32"}
        self.scan(path, what=What.FORGED, name="guess", headers=sent)
