"""A requested page size is brought into the allowed range: it is never refused."""

from __future__ import annotations

import pytest

from zpcode.rules.paging import MAX_PAGE, page_size


@pytest.mark.parametrize(
    ("limit", "size"), [(-1, 1), (0, 1), (1, 1), (MAX_PAGE, MAX_PAGE), (MAX_PAGE + 1, MAX_PAGE), (10**12, MAX_PAGE)]
)
def test_a_page_has_one_to_two_hundred_entries(limit: int, size: int) -> None:
    assert MAX_PAGE == 200
    assert page_size(limit) == size


def test_a_list_may_have_larger_pages() -> None:
    assert page_size(1000, 500) == 500
