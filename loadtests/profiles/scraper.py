"""刷号 / scrapers guess serials; ordinary consumers must not notice."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Guesser, Shopper
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["scraper"]


class Customer(Shopper):
    """A person in a shop."""


class Scraper(Guesser):
    """A program that guesses ten times a second; one program for ten scans a second of consumers."""

    share = 0.1

    @task
    def try_one(self) -> None:
        """One guess."""
        self.guess()


class Shape(Curve):
    """The full rate all the time."""

    profile = PROFILE


prepare(PROFILE)
