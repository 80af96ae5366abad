"""Who sees what, as SQL: the conditions that keep a query within a caller's reach.

The rule itself is `Caller.reach` in `zpcode.rules.access`. This module turns its description (`Reach`) into SQL, so that
the database selects exactly the rows for which `Caller.reaches` is true. A row with neither an enterprise nor a region
follows `Reach.ownerless`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, select, true

from zpcode.rules.access import Caller, Reach
from zpcode.store.tables.registry import enterprise


def within(caller: Caller, uscc: ColumnElement[Any], region: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that a row is within reach, by its columns of the enterprise and of the region.

    A row without an enterprise (NULL) is within reach of the regulators of its region and of the operator.
    """
    reach = caller.reach
    conditions: list[ColumnElement[bool]] = []
    if reach.uscc is not None:
        conditions.append(uscc == reach.uscc)
    if reach.region_prefix is not None:
        conditions.append(region.startswith(reach.region_prefix, autoescape=True))
    return and_(true(), *conditions)


def enterprise_within(caller: Caller) -> ColumnElement[bool]:
    """The condition on a query that reads or joins `enterprise`: the enterprise is within reach."""
    return within(caller, enterprise.c.uscc, enterprise.c.region)


def owner_within(caller: Caller, uscc: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition for a table with a column of the enterprise (NULL is allowed) and no column of the region.

    A row without an enterprise is a decision about a standard or a signing key: `Reach.ownerless` says who sees it.
    """
    reach = caller.reach
    if reach == Reach():
        return true()  # so that the operator's query does not list every enterprise
    owned = uscc.in_(select(enterprise.c.uscc).where(enterprise_within(caller)))
    return owned | uscc.is_(None) if reach.ownerless else owned
