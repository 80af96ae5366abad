"""Pages of a list: `limit` entries that follow `after`, which is the `next` of the page before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from zpcode.api.fields import Short
from zpcode.api.schemas import PageView
from zpcode.rules.paging import MAX_PAGE

Record = TypeVar("Record")
View = TypeVar("View")
_AFTER = "The `next` of the page before; leave it out for the first page."

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most entries to return.", examples=[50])]
AfterNumber = Annotated[int | None, Query(ge=0, le=2**63 - 1, description=_AFTER, examples=[4711])]
AfterText = Annotated[Short, Query(description=_AFTER, examples=["09501101530003"])]


def page_of(
    records: Sequence[Record], limit: int, view: Callable[[Record], View], key: Callable[[Record], str | int]
) -> PageView[View]:
    """A page of records. A full page has a `next`, even if no record follows it."""
    following = key(records[-1]) if len(records) == limit else None
    return PageView(items=[view(record) for record in records], next=following)
