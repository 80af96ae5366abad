"""Pages of a list: `limit` entries that follow `after`, which is what the page before gave as `next`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from zpcode.api.fields import Short
from zpcode.api.schemas import PageView
from zpcode.rules.paging import MAX_PAGE

Found = TypeVar("Found")
Shown = TypeVar("Shown")
_AFTER = "The `next` of the page before; leave it out for the first."

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.", examples=[50])]
AfterNumber = Annotated[int | None, Query(ge=0, le=2**63 - 1, description=_AFTER, examples=[4711])]
AfterText = Annotated[Short, Query(description=_AFTER, examples=["09501101530003"])]


def page(
    found: Sequence[Found], limit: int, show: Callable[[Found], Shown], key: Callable[[Found], str | int]
) -> PageView[Shown]:
    """A page of what was found. A full page has a `next`, behind which there may be nothing."""
    following = key(found[-1]) if len(found) == limit else None
    return PageView(items=[show(one) for one in found], next=following)
