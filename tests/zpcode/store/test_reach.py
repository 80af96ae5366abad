"""Who sees what: the condition in SQL and the predicate agree on every row, and every listing uses the condition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Column, Engine, MetaData, String, Table, insert, select

from tests.support import databases
from tests.support.clock import NOW
from tests.support.databases import Furnished
from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import (
    CITY,
    COUNTY,
    ELSEWHERE,
    KEY_ID,
    MAKER,
    NINGBO,
    OPERATOR,
    OTHER,
    PROVINCE,
    ask,
    decided,
    settle,
)
from zpcode.embedded.servers import Servers
from zpcode.errors import KeyringError, Text
from zpcode.rules.access import Caller, Role
from zpcode.rules.complaints.complaint import ComplaintForm, ComplaintKind
from zpcode.rules.regions import REGIONS
from zpcode.rules.status.decisions import Action
from zpcode.services import complaints as complaint_service
from zpcode.services.complaints import SentComplaint
from zpcode.store import batches, complaints, reach, status
from zpcode.store.database.session import Connection, transaction
from zpcode.store.registry import listing
from zpcode.wire.vocabulary import Scope

CALLERS = (OPERATOR, PROVINCE, CITY, COUNTY, NINGBO, ELSEWHERE, MAKER, OTHER)
USCCS = ("A", "B", None)
_ROWS = Table("reach_rows", MetaData(), Column("uscc", String), Column("region", String), prefixes=["TEMPORARY"])
_RULE = re.compile(r"region_prefix|\.region\.startswith|caller\.role|role (is|==|in) .*Role\.")


@pytest.fixture
def rows(owner: Engine) -> Iterator[Connection]:
    """A table with a row for every enterprise (and none) in every region, one of them outside the province."""
    with transaction(owner) as connection:  # the application may make no temporary table
        _ROWS.create(connection)
        places = [{"uscc": owner, "region": region} for owner, region in product(USCCS, (*REGIONS, "310115"))]
        connection.execute(insert(_ROWS), places)
        yield connection


def everybody() -> list[Caller]:
    """A caller of every role, and a regulator of every region."""
    regulators = [Caller(Role.REGULATOR, region, "K") for region in (*REGIONS, "330000", "310000")]
    return [Caller(Role.OPERATOR, "*", "K"), *(Caller(Role.ENTERPRISE, one, "K") for one in ("A", "B")), *regulators]


def test_sql_and_predicate_agree_on_every_role_region_and_enterprise(rows: Connection) -> None:
    """Also for rows without an enterprise, such as complaints about unknown products."""
    every = [tuple(row) for row in rows.execute(select(_ROWS))]
    for caller in everybody():
        selected = rows.execute(select(_ROWS).where(reach.within(caller, _ROWS.c.uscc, _ROWS.c.region)))
        assert {tuple(row) for row in selected} == {row for row in every if caller.reaches(*row)}, caller


def no_keyring() -> NoReturn:
    """The keyring of an authority that cannot trust it."""
    raise KeyringError(Text("不可信", "not to be trusted"))


@pytest.fixture(scope="module")
def furnished(servers: Servers, migrated: str) -> Furnished[None]:
    """An enterprise in Yuhang and one in Haishu with batches, decisions and complaints, and a complaint about no enterprise."""
    return databases.furnish(servers, migrated, two_enterprises)


@pytest.fixture
def world(engine: Engine, furnished: Furnished[None]) -> Engine:
    """A copy of that database."""
    assert furnished.database
    return engine


def two_enterprises(engine: Engine) -> None:
    """Write all of that."""
    for number in (1, 2):
        settle(engine, NOW, number)
        decided(engine, OPERATOR, NOW, ask(Scope.PRODUCT, gtin(number), Action.FLAG))
    decided(engine, OPERATOR, NOW, ask(Scope.KEY, KEY_ID, Action.REVOKE))
    for nonce, code in enumerate((gtin(1), gtin(2), "")):
        subject = complaint_service.about(engine, no_keyring, code)
        form = ComplaintForm(ComplaintKind.QUALITY, "broken", "market", "", code, "en")
        sent = SentComplaint(form, nonce.to_bytes(16, "little"))
        complaint_service.receive(engine, sent, subject, (), now=NOW)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.credential)
def test_every_listing_shows_what_the_predicate_allows(world: Engine, caller: Caller) -> None:
    """Batches, enterprises, products, complaints and decisions. Decisions without an enterprise are for everybody."""
    region = {uscc(1): "330110", uscc(2): "330203"}
    owners = {one for one in region if caller.reaches(one, region[one])}
    with transaction(world) as connection:
        assert {one.uscc for one in batches.listing(connection, caller, None, 100)} == owners
        assert {one.uscc for one in listing.enterprises(connection, caller, "", 100)} == owners
        assert {one.enterprise.uscc for one in listing.products(connection, caller, "", 100)} == owners
        assert {one.uscc for one in status.feed(connection, caller, 0, 100)} == owners | {None}
        everything = complaints.listing(connection, OPERATOR, None, None, 100)
        assert {one.uscc for one in everything} == {*region, None}
        shown = complaints.listing(connection, caller, None, None, 100)
        assert shown == [one for one in everything if caller.reaches(one.uscc, one.region)]


def test_no_other_file_of_the_store_has_a_rule_of_who_sees_what(root: Path) -> None:
    sources = [path for path in (root / "zpcode/store").rglob("*.py") if path.name != "reach.py"]
    assert [str(path) for path in sources if _RULE.search(path.read_text("utf-8"))] == []
