"""Which records a caller reaches, and the form of an API key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.errors import Forbidden
from zpcode.rules import access
from zpcode.rules.access import ApiKey, Caller, Role
from zpcode.rules.regions import REGIONS, city_of

NOW = datetime(2026, 11, 21, 4, tzinfo=UTC)


@given(st.sampled_from(sorted(REGIONS)), st.sampled_from(sorted(REGIONS)))
def test_a_regulator_reaches_their_region_and_what_lies_in_it(own: str, other: str) -> None:
    """A city reaches its counties, a county neither its city nor its neighbours, the province all."""
    caller = Caller(Role.REGULATOR, own, "K")
    within = own == other or (own.endswith("00") and city_of(other) == own)
    assert caller.reaches("anyone", other) is within
    assert Caller(Role.REGULATOR, "330000", "K").reaches("anyone", other)
    assert not Caller(Role.REGULATOR, "330000", "K").reaches("anyone", "310115")


def test_an_enterprise_reaches_itself_and_the_operator_everybody() -> None:
    """In every region."""
    assert Caller(Role.ENTERPRISE, "A", "K").reaches("A", "330110")
    assert not Caller(Role.ENTERPRISE, "A", "K").reaches("B", "330110")
    assert Caller(Role.OPERATOR, "*", "K").reaches("B", "330110")


@pytest.mark.parametrize(
    ("role", "subject"), [(Role.ENTERPRISE, "A"), (Role.REGULATOR, "330110"), (Role.OPERATOR, "*")]
)
def test_every_caller_reaches_standards_and_keys(role: Role, subject: str) -> None:
    """A record without an enterprise, but in a region, is no such record."""
    caller = Caller(role, subject, "K")
    assert caller.reaches(None, None)
    assert caller.reaches(None, "330203") is (role is Role.OPERATOR)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_a_token_is_read_back_as_it_was_made(first: bytes, second: bytes) -> None:
    """For all random bytes: 12 and 52 characters, no padding."""
    id_, secret = access.key_id(first), access.secret_text(second)
    assert (len(id_), len(secret)) == (12, 52)
    assert access.parse_token(access.token(id_, secret)) == (id_, secret)


@given(st.text())
def test_no_text_breaks_the_reading_of_a_token(text: str) -> None:
    """It is a token or it is not."""
    parts = access.parse_token(text)
    assert parts is None or access.token(*parts) == text


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_two_secrets_have_one_hash_only_if_they_are_one(first: bytes, second: bytes) -> None:
    """All 256 bits of the randomness count."""
    hashes = [access.secret_hash(access.secret_text(raw)) for raw in (first, second)]
    assert (hashes[0] == hashes[1]) is (first == second)
    assert len(hashes[0]) == 32


def test_a_use_is_stored_once_a_minute() -> None:
    """And the first one always."""
    key = ApiKey("K", Role.OPERATOR, "*", "", NOW)
    assert key.should_note_use(NOW)
    used = ApiKey("K", Role.OPERATOR, "*", "", NOW, None, NOW)
    assert not used.should_note_use(NOW + timedelta(seconds=59))
    assert used.should_note_use(NOW + timedelta(seconds=60))


@pytest.mark.parametrize(("role", "administers", "takes_codes"), [(Role.OPERATOR, True, True), (Role.ENTERPRISE, False, True), (Role.REGULATOR, False, False)])  # fmt: skip
def test_who_may_administer_and_who_may_take_codes(role: Role, administers: bool, takes_codes: bool) -> None:
    """Only the operator administers; everybody but a regulator takes codes."""
    for rule, allowed in ((access.may_administer, administers), (access.may_take_codes, takes_codes)):
        if allowed:
            rule(Caller(role, "x", "K"))
        else:
            with pytest.raises(Forbidden):
                rule(Caller(role, "x", "K"))
