"""The size of a page of a list, for every list of the API and the command line."""

from __future__ import annotations

from typing import Final

MAX_PAGE: Final = 200
"""The most entries of one page."""


def page_size(limit: int, most: int = MAX_PAGE) -> int:
    """The nearest allowed page size to the requested `limit`: 1 to `most`."""
    return max(1, min(limit, most))
