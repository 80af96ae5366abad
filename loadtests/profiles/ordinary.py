"""平常日 / an ordinary day: the curve of a day in one run, a third of the scans on popular products."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Shopper
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["ordinary"]


class Customer(Shopper):
    """A person in a shop; one scan of ten is of another kind."""

    @task(10)
    def scan_other(self) -> None:
        """A code of another level, a typed serial, a forgery or a preview."""
        self.other()


class Shape(Curve):
    """From midnight to midnight."""

    profile = PROFILE


prepare(PROFILE)
