"""Complaints: the order of steps, who may take them, the fields of a form; numbers, tickets and keys."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zpcode.errors import Conflict, Forbidden, Refused
from zpcode.rules.access import Caller, Role
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.complaints.complaint import FOLLOWING, ComplaintState, ComplaintStep, StepRequest
from zpcode.rules.complaints.reference import Fault

DAY = date(2026, 11, 21)
SECRET, NONCE, AT = bytes(range(32)), bytes(range(16)), 1_795_000_000
YUHANG = Caller(Role.REGULATOR, "330110", "a")
HANGZHOU = Caller(Role.REGULATOR, "330100", "b")
MAKER = Caller(Role.ENTERPRISE, "91330100MA2T00001Y", "c")
OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")
FORM = {"kind": "quality", "description": "It broke", "place": "", "contact": "", "code": "", "language": "en"}


def fields(refused: Refused) -> set[str]:
    """Which fields something is wrong with."""
    return {finding.where for finding in refused.findings}


def test_what_has_ended_stays_so() -> None:
    for state, step in itertools.product(rules.ENDED, ComplaintStep):
        with pytest.raises(Conflict):
            rules.after(state, step)


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    assert {following for _, following in FOLLOWING.values()} | {ComplaintState.RECEIVED} == set(ComplaintState)
    for state in set(ComplaintState) - rules.ENDED:
        assert rules.after(state, ComplaintStep.CLOSE) is ComplaintState.CLOSED


def test_what_was_answered_is_not_refused_and_nothing_is_received_twice() -> None:
    with pytest.raises(Conflict):
        rules.after(ComplaintState.ANSWERED, ComplaintStep.REFUSE)
    with pytest.raises(Conflict):
        rules.after(ComplaintState.RECEIVED, ComplaintStep.RECEIVE)


@given(st.lists(st.sampled_from(ComplaintStep), max_size=8))
def test_a_chain_is_legal_where_each_step_is(steps: list[ComplaintStep]) -> None:
    """`state_of` of a whole chain agrees with `after` step by step."""
    expected: ComplaintState | None = ComplaintState.RECEIVED if steps[:1] == [ComplaintStep.RECEIVE] else None
    for step in steps[1:]:
        try:
            expected = None if expected is None else rules.after(expected, step)
        except Conflict:
            expected = None
    assert rules.state_of(steps) is expected


def test_an_enterprise_reads_and_decides_nothing() -> None:
    with pytest.raises(Forbidden):
        rules.permit(MAKER)
    assert not rules.reads_contact(MAKER)
    rules.permit(YUHANG)
    assert rules.reads_contact(YUHANG)


@pytest.mark.parametrize(
    ("caller", "region", "may"),
    [
        (YUHANG, "330110", True),
        (YUHANG, "330100", True),
        (YUHANG, "330000", True),
        (YUHANG, "330106", False),
        (YUHANG, "330200", False),
        (HANGZHOU, "330110", True),
        (HANGZHOU, "330203", False),
        (OPERATOR, "330203", True),
        (OPERATOR, "310000", False),
        (OPERATOR, "", False),
    ],
)
def test_a_complaint_is_handed_down_or_up_and_never_sideways(caller: Caller, region: str, may: bool) -> None:
    assert rules.may_assign(caller, region) is may


def test_a_step_says_what_it_needs_and_no_more() -> None:
    with pytest.raises(Refused) as silent:
        rules.check(StepRequest(ComplaintStep.CLOSE, " \n"), YUHANG)
    assert fields(silent.value) == {"/text"}
    with pytest.raises(Refused) as astray:
        rules.check(StepRequest(ComplaintStep.ANSWER, "x" * 2001, "330110"), YUHANG)
    assert fields(astray.value) == {"/text", "/region"}
    with pytest.raises(Refused):
        rules.check(StepRequest(ComplaintStep.RECEIVE), YUHANG)
    assert rules.check(StepRequest(ComplaintStep.ANSWER, " ok "), YUHANG).text == "ok"


def test_everything_wrong_in_a_form_is_reported_at_once() -> None:
    with pytest.raises(Refused) as refused:
        rules.read("nonsense", "字" * 2001, "x" * 201, "nobody", "y" * 301, "en")
    assert fields(refused.value) == {"kind", "description", "place", "contact", "code"}
    with pytest.raises(Refused) as empty:
        rules.read(**FORM | {"description": " \r\n\u0000"})
    assert fields(empty.value) == {"description"}
    with pytest.raises(Refused) as endless:
        rules.read(**FORM | {"description": "x" * 1_000_000})
    assert [finding.reason for finding in endless.value.findings] == ["length"]


def test_a_text_is_kept_as_it_is_but_for_what_no_page_can_show() -> None:
    form = rules.read(**FORM | {"description": " e\u0301\r\n<b>👀\u0000\ud800\u202e "})
    assert form.description == "é\n<b>👀\u202e"


@pytest.mark.parametrize(
    "contact", ["13800000000", "0571-8800 1200", "+86 138 0000 0000", "１３８００００００００", "a@b.cn"]
)
def test_somebody_can_be_reached_there(contact: str) -> None:
    assert rules.read(**FORM | {"contact": contact}).contact


@pytest.mark.parametrize("contact", ["1234", "call me", "a@b", "a b@c.cn", "1" * 21, "<script>@x.cn"])
def test_nobody_can_be_reached_there(contact: str) -> None:
    assert not rules.reachable(contact)


def _number(drawn: int) -> str:
    """The number of this draw; a draw in vain is no example."""
    number = reference.number(DAY, drawn)
    assume(number is not None)
    return str(number)


@given(st.integers(0, 2**30 - 1))
def test_a_number_is_read_back_however_it_is_typed(drawn: int) -> None:
    number = _number(drawn)
    heard = number.lower().replace("0", "o").replace("1", "l").replace("-", " ")
    assert reference.read_number(number) == reference.read_number(heard) == number


@given(st.integers(0, 2**30 - 1), st.integers(3, 18), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_character_in_a_number_is_refused(drawn: int, place: int, other: str) -> None:
    number = _number(drawn)
    assume(number[place] not in {other, "-"})
    assert reference.read_number(number[:place] + other + number[place + 1 :]) is None


def test_few_numbers_are_drawn_in_vain() -> None:
    vain = sum(reference.number(DAY, drawn) is None for drawn in range(0, 2**30, 2**18))
    assert vain < 2**12 / 6


def test_a_ticket_is_good_from_three_seconds_to_a_day() -> None:
    ticket = reference.ticket(SECRET, NONCE, AT)
    results = [reference.read_ticket(SECRET, ticket, AT + age) for age in (-1, 2, 3, 86_400, 86_401)]
    assert results == [Fault.EARLY, Fault.EARLY, NONCE, NONCE, Fault.LATE]


def test_no_other_text_is_a_ticket() -> None:
    """Every byte counts; a ticket of another secret is invalid."""
    ticket = reference.ticket(SECRET, NONCE, AT)
    for place in range(len(ticket) - 1):  # the last character has spare bits
        other = ticket[:place] + ("A" if ticket[place] != "A" else "B") + ticket[place + 1 :]
        assert reference.read_ticket(SECRET, other, AT + 10) is Fault.FORGED
    assert reference.read_ticket(bytes(32), ticket, AT + 10) is Fault.FORGED
    assert reference.read_ticket(SECRET, reference.follow_key(SECRET, NONCE), AT + 10) is Fault.FORGED


def test_a_key_is_128_bits_of_the_tickets_nonce_and_of_no_use_to_make_another() -> None:
    key = reference.follow_key(SECRET, NONCE)
    assert len(key) == 26
    assert reference.read_key(f" {key.lower()[:13]}-{key.lower()[13:]} ") == key
    assert reference.key_hash(key) == hashlib.sha256(key.encode()).digest()
    others = {reference.follow_key(SECRET, secrets.token_bytes(16)) for _ in range(50)}
    assert len(others | {key}) == 51
    for text in ("", key[:-1], key + "0", "é" * 26, "U" * 26):
        assert reference.read_key(text) == ""


def test_what_is_alike_is_alike_in_every_part() -> None:
    """Texts that differ only in where fields are separated are different."""
    references = {
        reference.likeness(SECRET, *parts) for parts in ((b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"a", b"b", b""))
    }
    assert len(references) == 4


def test_number_and_key_are_read_as_an_input_method_leaves_them() -> None:
    """Full-width characters or a dash for a hyphen are accepted. The example in the form is a valid number."""
    for typed in ("TS-20261121-7K3Q9D2", "ＴＳ－２０２６１１２１－７Ｋ３Ｑ９Ｄ２", "TS–20261121—7k3q9d2"):
        assert reference.read_number(typed) == "TS-20261121-7K3Q9D2"
    key = reference.follow_key(SECRET, NONCE)
    wide = "".join(chr(ord(one) + 0xFEE0) for one in key)
    assert reference.read_key(wide) == key
