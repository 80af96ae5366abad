"""What a public notice is: one condition in SQL, tested with a decision of every kind in a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product

import pytest
from sqlalchemy import Engine, select

from tests.support.registry_data import gtin
from tests.support.status_setting import COUNTY, MAKER, OPERATOR, PROVINCE, settle
from zpcode.rules.access import Caller, Role
from zpcode.rules.regions import FORMER, REGIONS
from zpcode.rules.status.decisions import STATES, Action, Actor
from zpcode.rules.status.permissions import StatusChange, actor_of
from zpcode.rules.status.recovery import UNCONFIRMED_CALLER
from zpcode.store import notices, status
from zpcode.store.database.session import Connection, transaction
from zpcode.store.tables.codes import status_change
from zpcode.wire.card import MAX_NOTICES
from zpcode.wire.vocabulary import Bilingual, Scope

CALLERS = (MAKER, COUNTY, PROVINCE, OPERATOR)
KINDS = list(product(CALLERS, Action, ("", "浙市监召〔2026〕18号")))


@pytest.fixture
def connection(engine: Engine, now: datetime) -> Iterator[Connection]:
    """A registry with one product, and no decision."""
    settle(engine, now)
    with transaction(engine) as opened:
        yield opened


def add(connection: Connection, caller: Caller, action: Action, notice: str, now: datetime) -> int:
    """Write a decision about the product and return its number."""
    actor = actor_of(caller)
    decision = StatusChange(
        id=0, scope=Scope.PRODUCT, target=gtin(1), first=None, last=None, action=action, reason="sample-test-failed",
        state=STATES[action], lifts=actor if action is Action.RESTORE else None, legal_basis="", note=Bilingual(),
        notice=notice, effective_at=now, actor=actor, authority=Bilingual("局"), uscc=MAKER.subject, created_at=now,
    )  # fmt: skip
    return status.add(connection, decision, caller.name).id


def test_a_notice_is_a_numbered_decision_of_an_authority_and_no_restoration(
    connection: Connection, now: datetime
) -> None:
    expected = []
    for caller, action, notice in KINDS:
        number = add(connection, caller, action, notice, now)
        if notice and caller.role is not Role.ENTERPRISE and action is not Action.RESTORE:
            expected.append(number)
    shown = [decision.id for decision in notices.published(connection)]
    assert shown == expected[: -MAX_NOTICES - 1 : -1] != []


def test_the_public_list_has_the_restorations_too(connection: Connection, now: datetime) -> None:
    """The list includes restorations, so that a reader learns that a notice ended."""
    expected = []
    for caller, action, notice in KINDS:
        number = add(connection, caller, action, notice, now)
        if notice and caller.role is not Role.ENTERPRISE:
            expected.append(number)
    assert [decision.id for decision in status.notices(connection, 0, 1000)] == expected


def test_the_database_selects_by_the_level_that_the_rule_gives(connection: Connection, now: datetime) -> None:
    """Every region of Zhejiang, former ones, and codes with zeros in each place: one kind of caller each, that of `actor_of`."""
    pairs = ("00", "01", "10", "90")
    made_up = map("".join, product(("11", "30", "33"), pairs, pairs))
    offices = (Caller(Role.REGULATOR, code, "key") for code in {PROVINCE.subject, *REGIONS, *FORMER, *made_up})
    for caller in (MAKER, OPERATOR, UNCONFIRMED_CALLER, *offices):
        add(connection, caller, Action.FLAG, "", now)
    every = set(status.every(connection))
    for actor in Actor:
        chosen = status.changes(connection, select(status_change).where(status.made_by({actor})))
        assert set(chosen) == {decision for decision in every if decision.actor is actor} != set()


@pytest.mark.parametrize(("caller", "action", "notice"), KINDS)
def test_the_card_is_missing_where_there_is_a_notice(
    connection: Connection, now: datetime, caller: Caller, action: Action, notice: str
) -> None:
    """No card is written here, so it is missing exactly when the decision is a notice."""
    add(connection, caller, action, notice, now)
    assert notices.are_missing(connection) == bool(notices.published(connection))
