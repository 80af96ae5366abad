"""双11 / Singles' Day: twenty times as many within a minute, 80 % of the scans on 1 % of the products."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Consumer
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["double11"]


class Bargainer(Consumer):
    """Somebody whose parcel has come."""

    @task(80)
    def scan_popular(self) -> None:
        """One of the hundredth of products that everybody bought."""
        self.item("popular")

    @task(20)
    def scan_ordinary(self) -> None:
        """Any other."""
        self.item("ordinary")


class Shape(Curve):
    """From a twentieth to everything within a minute."""

    profile = PROFILE


prepare(PROFILE)
