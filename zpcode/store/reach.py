"""Who sees what, as SQL: the conditions that keep a query within a caller's reach.

The rule itself is `Caller.reach` in `zpcode.rules.access`. This module only turns its description into SQL, so that
the database selects exactly the rows for which `Caller.reaches` is true.
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

    A row without an enterprise (a decision about a standard or a signing key) is within everybody's reach.
    """
    if caller.reach == Reach():
        return true()  # so that the operator's query does not list every enterprise
    return uscc.is_(None) | uscc.in_(select(enterprise.c.uscc).where(enterprise_within(caller)))
