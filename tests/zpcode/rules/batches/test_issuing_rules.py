"""Which orders are refused: every reason, alone and together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import msgspec
import pytest

from zpcode.errors import Forbidden, Refused
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import MAX_QUANTITY, Activation, BatchRequest
from zpcode.rules.batches.issuing import Facts, may_ask, may_issue
from zpcode.wire.card import CertificateInfo, EnterpriseInfo, LotCard, ProductCard, RecognitionInfo, Standing, Timeline
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Bilingual, Scope, State

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
TODAY = date(2026, 11, 21)
GTIN = "09501101530003"
CARD = ProductCard(
    gtin=GTIN,
    name=Bilingual("茶", "tea"),
    enterprise=EnterpriseInfo("91330106MA2XXXXX0A", Bilingual("厂", "works"), "330106", Bilingual()),
    recognition=RecognitionInfo("R-1", "certification", "2026-01-01", "2026-12-31", certificate="C-1"),
    standards=(),
    certificates=(
        CertificateInfo("C-1", "zhejiang_made", Bilingual(), valid_from="2026-01-01", valid_to="2026-12-31"),
    ),
    indicators=(),
    commitments=(),
)
FACTS = Facts(CARD)
FORMATS = {"csv": None, "sheet": 1000}
REQUEST = BatchRequest(Level.ITEM, GTIN, 1000)


def reasons(request: BatchRequest = REQUEST, facts: Facts = FACTS, now: datetime = NOW) -> tuple[str, ...]:
    """The reasons of a refusal, each checked in two languages; empty if the request is accepted."""
    try:
        may_issue(request, facts, FORMATS, now)
    except Refused as refusal:
        return tuple(finding.reason for finding in refusal.findings if finding.text.zh and finding.text.en)
    return ()


def _standing(state: State, at: datetime = NOW, scope: Scope = Scope.PRODUCT) -> Facts:
    return replace(FACTS, timelines=((scope, "target", Timeline((Standing(state, int(at.timestamp())),))),))


def test_a_recognised_product_gets_codes() -> None:
    """At every level."""
    assert reasons() == ()
    assert reasons(replace(REQUEST, level=Level.COMPACT)) == ()
    assert reasons(replace(REQUEST, level=Level.PRODUCT)) == ()
    assert reasons(replace(REQUEST, level=Level.LOT, lot="L1")) == ()


@pytest.mark.parametrize("quantity", [0, -1, MAX_QUANTITY + 1, 10**30])
def test_a_quantity_out_of_bounds_is_refused(quantity: int) -> None:
    """1 … 10⁹ and nothing else."""
    assert reasons(replace(REQUEST, quantity=quantity)) == ("quantity",)


@pytest.mark.parametrize("quantity", [1, MAX_QUANTITY])
def test_the_bounds_themselves_are_allowed(quantity: int) -> None:
    """Both ends belong to it."""
    assert reasons(replace(REQUEST, quantity=quantity)) == ()


@pytest.mark.parametrize("gtin", [GTIN, "00000000000000", "09501101530004", "", "x" * 300])
def test_nobody_can_distinguish_an_unknown_gtin_from_a_foreign_one(gtin: str) -> None:
    """The text is the same for another enterprise's GTIN and an unknown GTIN."""
    with pytest.raises(Refused) as refusal:
        may_issue(replace(REQUEST, gtin=gtin), Facts(None), FORMATS, NOW)
    with pytest.raises(Refused) as other:
        may_issue(REQUEST, Facts(None), FORMATS, NOW)
    assert refusal.value.findings[0].text == other.value.findings[0].text
    assert refusal.value.reasons == ("foreign_gtin",)


@pytest.mark.parametrize("state", [State.ENDED, State.SUSPENDED, State.RECALLED, State.REVOKED])
@pytest.mark.parametrize(
    "scope", [Scope.LOT, Scope.PRODUCT, Scope.RECOGNITION, Scope.CERTIFICATE, Scope.STANDARD, Scope.ENTERPRISE]
)
def test_a_decision_in_effect_stops_issuing(state: State, scope: Scope) -> None:
    """Every scope that reaches a product without codes."""
    assert reasons(facts=_standing(state, scope=scope)) == ("not_in_force",)


def test_a_flag_and_a_decision_of_the_future_stop_nothing() -> None:
    """A flag stops no order, nor does a decision that takes effect tomorrow."""
    assert reasons(facts=_standing(State.FLAGGED)) == ()
    assert reasons(facts=_standing(State.REVOKED, NOW.replace(year=2027))) == ()


def test_a_restored_product_gets_codes_again() -> None:
    """The latest decision in effect is what counts."""
    at = int(NOW.timestamp())
    timeline = Timeline((Standing(State.SUSPENDED, at - 100), Standing(State.GOOD, at)))
    assert reasons(facts=replace(FACTS, timelines=((Scope.PRODUCT, GTIN, timeline),))) == ()


def test_without_a_recognition_there_are_no_codes() -> None:
    """Deny by default."""
    assert reasons(facts=Facts(msgspec.structs.replace(CARD, recognition=None))) == ("not_in_force",)


@pytest.mark.parametrize(
    ("moment", "refused"),
    [
        (datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC), True),
        (datetime(2025, 12, 31, 16, 0, 0, tzinfo=UTC), False),
        (datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 12, 31, 16, 0, 0, tzinfo=UTC), True),
    ],
)
def test_a_recognition_is_in_force_by_the_calendar_of_hangzhou(moment: datetime, *, refused: bool) -> None:
    """Midnight in Hangzhou is 16:00 UTC of the day before; first and last day both count."""
    assert bool(reasons(now=moment)) is refused


def test_a_recognition_whose_certificate_has_run_out_is_not_in_force() -> None:
    """Only the certificate of the recognition counts; another expired one does not."""
    (certificate,) = CARD.certificates
    old = msgspec.structs.replace(certificate, valid_to="2026-11-20")
    assert reasons(facts=Facts(msgspec.structs.replace(CARD, certificates=(old,)))) == ("not_in_force",)
    extra = msgspec.structs.replace(old, number="C-2")
    assert reasons(facts=Facts(msgspec.structs.replace(CARD, certificates=(certificate, extra)))) == ()


def test_the_quota_counts_item_codes_only() -> None:
    """The last code is allowed, one more is not; labels of product and lot codes are no item codes."""
    facts = replace(FACTS, quota=5000, used=4000)
    assert reasons(facts=facts) == ()
    assert reasons(replace(REQUEST, quantity=1001), facts) == ("quota",)
    assert reasons(replace(REQUEST, level=Level.COMPACT, quantity=1001), facts) == ("quota",)
    assert reasons(replace(REQUEST, level=Level.PRODUCT, quantity=1001), facts) == ()
    assert reasons(replace(REQUEST, level=Level.LOT, lot="L", quantity=1001), facts) == ()
    assert reasons(facts=replace(FACTS, quota=0)) == ("quota",)
    assert reasons(facts=replace(FACTS, quota=None, used=10**12)) == ()


@pytest.mark.parametrize(
    "lot", ["", "a", "-1", ".5", ".", "..", "A B", "A,B", "=1+1", "@A", 'A"', "A\r\n", "批次", "0" * 21]
)
def test_a_lot_code_needs_a_lot_that_can_be_printed(lot: str) -> None:
    """No formula of a spreadsheet, nothing that a browser removes from a path."""
    assert reasons(replace(REQUEST, level=Level.LOT, lot=lot)) == ("lot",)
    assert reasons(replace(REQUEST, level=Level.ITEM, lot=lot)) == (("lot",) if lot else ())


@pytest.mark.parametrize(
    ("made", "expires", "refused"),
    [
        (TODAY, TODAY, ()),
        (date(2026, 11, 22), None, ("dates",)),
        (None, date(2026, 11, 20), ("dates",)),
        (date(2026, 11, 21), date(2026, 11, 20), ("dates", "dates")),
        (date(2027, 1, 2), date(2027, 1, 1), ("dates", "dates")),
        (date(2020, 1, 1), date(2099, 1, 1), ()),
    ],
)
def test_dates_are_in_order(made: date | None, expires: date | None, refused: tuple[str, ...]) -> None:
    """Production not after today, expiry not before today, production not after expiry."""
    assert reasons(replace(REQUEST, production_date=made, expiry_date=expires)) == refused


def test_a_lot_has_one_pair_of_dates() -> None:
    """A second order of labels for a lot needs the same dates as the first."""
    facts = replace(FACTS, lot=LotCard(GTIN, "L1", "2026-11-01", "2027-11-01", 5))
    same = replace(REQUEST, level=Level.LOT, lot="L1", production_date=date(2026, 11, 1), expiry_date=date(2027, 11, 1))
    assert reasons(same, facts) == ()
    assert reasons(replace(same, expiry_date=None), facts) == ("lot_dates",)
    assert reasons(replace(same, expiry_date=date(2027, 11, 2)), facts) == ("lot_dates",)


def test_an_unknown_format_is_refused() -> None:
    """The refusal names the formats there are."""
    assert reasons(replace(REQUEST, format="exe")) == ("format",)
    with pytest.raises(Refused) as refusal:
        may_issue(replace(REQUEST, format="exe"), FACTS, FORMATS, NOW)
    assert "csv, sheet" in refusal.value.findings[0].text.en


def test_a_format_that_carries_fewer_codes_is_refused_above_its_limit() -> None:
    """The labels of a lot share one code, so their number does not matter."""
    sheet = replace(REQUEST, format="sheet")
    assert reasons(replace(sheet, quantity=1000)) == ()
    assert reasons(replace(sheet, quantity=1001)) == ("quantity",)
    assert reasons(replace(sheet, quantity=1001, level=Level.LOT, lot="L1")) == ()


def test_a_product_code_cannot_wait_for_its_activation() -> None:
    """It is the same code in every batch."""
    assert reasons(replace(REQUEST, level=Level.PRODUCT, activation=Activation.MANUAL)) == ("activation",)


def test_every_reason_is_reported_in_one_run() -> None:
    """One refusal has all reasons."""
    request = replace(REQUEST, quantity=0, format="x", lot="a b", expiry_date=date(2000, 1, 1))
    facts = replace(_standing(State.REVOKED), product=msgspec.structs.replace(CARD, recognition=None), quota=0, used=9)
    assert set(reasons(request, facts)) == {"quantity", "format", "lot", "dates", "not_in_force", "quota"}


def test_a_regulator_issues_nothing() -> None:
    """An enterprise and the operator do."""
    may_ask(Caller(Role.ENTERPRISE, "x", "k"))
    may_ask(Caller(Role.OPERATOR, "*", "k"))
    with pytest.raises(Forbidden):
        may_ask(Caller(Role.REGULATOR, "330000", "k"))


def test_requests_have_the_same_digest_exactly_when_they_are_the_same() -> None:
    """Each field counts."""
    changes = [
        {"level": Level.COMPACT},
        {"gtin": "09501101530010"},
        {"quantity": 1001},
        {"lot": "L1"},
        {"production_date": TODAY},
        {"expiry_date": TODAY},
        {"format": "zpl"},
        {"activation": Activation.MANUAL},
    ]
    digests = {replace(REQUEST, **change).digest for change in changes}  # type: ignore[arg-type]
    assert len(digests | {REQUEST.digest}) == len(changes) + 1
    assert replace(REQUEST).digest == REQUEST.digest
