"""双11 / Singles' Day: 20 times the scans within a minute, 80 % of them on 1 % of the products."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Consumer
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["double11"]


class Bargainer(Consumer):
    """A person whose parcel has arrived."""

    @task(80)
    def scan_popular(self) -> None:
        """A popular product."""
        self.item("popular")

    @task(20)
    def scan_ordinary(self) -> None:
        """Another product."""
        self.item("ordinary")


class Shape(Curve):
    """From 1/20 to the full rate within a minute."""

    profile = PROFILE


prepare(PROFILE)
