"""Lists of the registry: in order, page by page, and only what is within the caller's reach."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine

from tests.support.registry_data import as_json, gtin, registry, uscc
from zpcode.errors import NotFound
from zpcode.rules.access import Caller, Role
from zpcode.services.registry import listing
from zpcode.services.registry.importing import import_registry

OPERATOR = Caller(Role.OPERATOR, "*", "K")


@pytest.fixture(autouse=True)
def _two_enterprises(engine: Engine, now: datetime) -> None:
    for number in (1, 2):
        import_registry(engine, as_json(registry(number)), actor="operator:*:test", now=now)


def test_a_list_is_read_page_by_page_in_order(engine: Engine) -> None:
    everybody = sorted([uscc(1), uscc(2)])
    assert [one.uscc for one in listing.enterprises(engine, OPERATOR)] == everybody
    assert [one.uscc for one in listing.enterprises(engine, OPERATOR, limit=1)] == everybody[:1]
    assert [one.uscc for one in listing.enterprises(engine, OPERATOR, after=everybody[0])] == everybody[1:]
    assert [one.gtin for one in listing.products(engine, OPERATOR, after=gtin(1))] == [gtin(2)]


def test_an_enterprise_sees_itself_and_its_products_alone(engine: Engine) -> None:
    """A product of another enterprise is answered like one that does not exist."""
    caller = Caller(Role.ENTERPRISE, uscc(1), "K")
    assert [one.uscc for one in listing.enterprises(engine, caller)] == [uscc(1)]
    assert [one.gtin for one in listing.products(engine, caller)] == [gtin(1)]
    assert listing.product(engine, gtin(1), caller).enterprise.uscc == uscc(1)
    for other in (gtin(2), gtin(9)):
        with pytest.raises(NotFound, match=other):
            listing.product(engine, other, caller)
