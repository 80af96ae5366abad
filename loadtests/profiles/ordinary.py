"""平常日 / an ordinary day: a day's ups and downs in one run, a third of all scans on the popular products."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Shopper
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["ordinary"]


class Customer(Shopper):
    """Somebody in a shop; now and then with another kind of code, a typed number or a forgery."""

    @task(10)
    def scan_other(self) -> None:
        """Everything that is no item code with its seal."""
        self.other()


class Shape(Curve):
    """Midnight to midnight."""

    profile = PROFILE


prepare(PROFILE)
