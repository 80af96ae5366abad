"""刷号 / a scraper guessing serials, beside ordinary consumers, who must not notice."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Guesser, Shopper
from loadtests.users.locust_wiring import Curve, prepare

PROFILE = PROFILES["scraper"]


class Customer(Shopper):
    """Somebody in a shop."""


class Scraper(Guesser):
    """A program that guesses ten times a second; one for every ten scans a second of everybody else."""

    share = 0.1

    @task
    def try_one(self) -> None:
        """One guess."""
        self.guess()


class Shape(Curve):
    """The same all the time."""

    profile = PROFILE


prepare(PROFILE)
