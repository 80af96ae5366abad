"""产线与监管 / packaging lines order and download codes, a regulator revokes and restores codes, consumers scan."""

from __future__ import annotations

from locust import task

from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Shopper
from loadtests.users.locust_wiring import Curve, prepare
from loadtests.users.officials import Line, Regulator

PROFILE = PROFILES["lines"]


class Customer(Shopper):
    """A person in a shop; some of the codes are in the batch from which the regulator revokes."""

    @task(10)
    def scan_revocable(self) -> None:
        """A code of the batch from which codes are revoked."""
        self.item("revocable")


class Packer(Line):
    """A line that packs 200 pieces every five seconds; one line for 25 scans a second."""

    share = 0.04

    @task
    def pack_once(self) -> None:
        """Order and check one batch."""
        self.pack()


class Office(Regulator):
    """The office that revokes and restores codes, one after another."""

    fixed_count = 1

    @task
    def revoke_and_restore(self) -> None:
        """Revoke and restore one code."""
        self.revoke_one()


class Shape(Curve):
    """The full rate all the time."""

    profile = PROFILE


prepare(PROFILE)
