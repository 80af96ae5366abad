"""晚间新闻召回 / a recall in the evening news: everybody scans one batch, and half way it is recalled.

Once the recall has been seen, one scan of that batch that is told good fails the run.
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
    """Somebody who has heard of it and looks at what is in the kitchen."""

    @task(95)
    def scan_recalled(self) -> None:
        """The batch everybody talks about."""
        self.item("recall", RECALLED)

    @task(5)
    def scan_ordinary(self) -> None:
        """Something else on the same shelf."""
        self.item("ordinary")


class Office(Regulator):
    """The office that recalls the batch, once."""

    fixed_count = 1

    @task
    def recall_batch(self) -> None:
        """See that the batch is good, recall it at its time, and look after it until the end."""
        batch, path = self.stage.sample.contents.recall_batch, self.stage.sample.code("recall", 0)
        self.open_batch(batch, path)
        while self.stage.progress < RECALLED_AT:
            gevent.sleep(0.1)
        self.recall(batch, path)
        while self.stage.progress < 1.0:
            self.scan(self.stage.sample.draw("recall", self.luck), RECALLED, name="scan recalled")
            gevent.sleep(0.2)
        raise StopUser  # a second turn would restore the batch while others still scan it


class Shape(Curve):
    """Few, then everybody at once."""

    profile = PROFILE


prepare(PROFILE)
