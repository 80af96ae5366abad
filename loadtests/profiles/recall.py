"""晚间新闻召回 / a recall in the evening news: everybody scans one batch, and at 40 % of the run it is recalled.

After the first scan that shows the recall, a single good answer for this batch fails the run.
"""

from __future__ import annotations

import gevent
from locust import task
from locust.exception import StopUser

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Consumer
from loadtests.users.ledger import RECALLED
from loadtests.users.locust_wiring import Curve, prepare
from loadtests.users.officials import Regulator

PROFILE = PROFILES["recall"]
RECALLED_AT = 0.4  # of the run


class Viewer(Consumer):
    """A person who has seen the news and checks the product at home."""

    @task(95)
    def scan_recalled(self) -> None:
        """A code of the batch in the news."""
        self.item("recall", RECALLED)

    @task(5)
    def scan_ordinary(self) -> None:
        """Another product."""
        self.item("ordinary")


class Office(Regulator):
    """The office that recalls the batch, once."""

    fixed_count = 1

    @task
    def recall_batch(self) -> None:
        """Make sure that the batch is good, recall it, and scan it until the end."""
        batch, path = self.shared.sample.contents.recall_batch, self.shared.sample.code("recall", 0)
        self.restore_batch(batch, path)
        while self.shared.progress < RECALLED_AT:
            gevent.sleep(0.1)
        self.recall(batch, path)
        while self.shared.progress < 1.0:
            self.scan(self.shared.sample.draw("recall", self.rng), RECALLED, name="scan recalled")
            gevent.sleep(0.2)
        raise StopUser  # another turn would restore the batch while others scan it


class Shape(Curve):
    """Few scans, then many at once."""

    profile = PROFILE


prepare(PROFILE)
