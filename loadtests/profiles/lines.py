"""产线与监管 / packaging lines order and fetch codes, a regulator revokes and restores, and consumers scan all the while."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Shopper
from loadtests.users.locust_wiring import Curve, prepare
from loadtests.users.officials import Line, Regulator

PROFILE = PROFILES["lines"]


class Customer(Shopper):
    """Somebody in a shop; some of the codes are those that the regulator is busy with."""

    @task(10)
    def scan_revocable(self) -> None:
        """One of a batch of which some are revoked."""
        self.item("revocable")


class Packer(Line):
    """A line that packs two hundred pieces every five seconds; one for every twenty-five scans a second."""

    share = 0.04

    @task
    def pack_once(self) -> None:
        """One batch."""
        self.pack()


class Office(Regulator):
    """The office that revokes and restores codes, one after another."""

    fixed_count = 1

    @task
    def revoke_and_restore(self) -> None:
        """One code, there and back."""
        self.revoke_one()


class Shape(Curve):
    """The same all the time."""

    profile = PROFILE


prepare(PROFILE)
