"""The digests of records: the same for the same facts, whatever version computes them."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from zpcode.rules.record_digest import LoggedDigest, canonical, digest, mismatches

AT = datetime(2026, 11, 21, 4, 0, 0, 5, UTC)


def logged(value: str | None) -> LoggedDigest:
    """An entry with this digest."""
    return LoggedDigest(value, 7, AT, "operator:*:x", "registry.import")


def test_the_canonical_form_is_sorted_and_has_no_blanks() -> None:
    assert canonical({"b": [1, True, None], "a": "码"}) == '{"a":"码","b":[1,true,null]}'.encode()


def test_a_digest_stays_what_it_was() -> None:
    """It is in the audit log of every installation: another value here makes every record differ. Then VERSION must change too."""
    fields = {"code": "ZJ-01", "name": {"zh": "钱江认证中心"}, "at": AT, "count": 0, "none": None}
    text = (
        '["1","body",{"at":"2026-11-21T04:00:00.000005+00:00","code":"ZJ-01","count":0,"name":{"zh":"钱江认证中心"}}]'
    )
    hashed = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    assert digest("body", fields) == f"1:{hashed}"
    assert digest("body", fields) == "1:ZN6nIk8Iaund86fEnKltX7XCTpbJFACq2fkDq7lHwm0"


def test_a_time_is_the_same_in_every_zone() -> None:
    shanghai = AT.astimezone(timezone(timedelta(hours=8)))
    assert digest("batch", {"at": AT}) == digest("batch", {"at": shanghai})


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("enterprise", {"code": "A"}),
        ("body", {"code": "B"}),
        ("body", {"code": "A", "website": ""}),
        ("body", {"kode": "A"}),
        ("body", {}),
    ],
)
def test_other_facts_have_another_digest(kind: str, fields: dict[str, Any]) -> None:
    assert digest(kind, fields) != digest("body", {"code": "A"})


def test_a_field_that_is_none_is_no_field() -> None:
    assert digest("body", {"code": "A", "new": None}) == digest("body", {"code": "A"})


def test_what_differs_has_its_kind() -> None:
    stored = {"a": "1:x", "b": "1:x", "c": "1:x", "d": "1:x"}
    entries = {"a": logged("1:x"), "b": logged("1:y"), "c": logged(None), "e": logged("1:x"), "f": logged(None)}
    kinds = {one.name: one.kind for one in mismatches(stored, entries, covered=True)}
    assert kinds == {"b": "altered", "c": "unlogged", "d": "unlogged", "e": "missing"}


def test_a_record_without_a_first_digest_is_no_alarm_until_all_are_covered() -> None:
    (one,) = mismatches({"a": "1:x"}, {}, covered=False)
    assert (one.kind, one.is_alarming) == ("uncovered", False)
    (one,) = mismatches({"a": "1:x"}, {}, covered=True)
    assert (one.kind, one.is_alarming) == ("unlogged", True)
