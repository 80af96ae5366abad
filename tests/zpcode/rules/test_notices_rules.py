"""What a public notice is about, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zpcode.rules import cards, notices
from zpcode.rules.notices import Names
from zpcode.rules.status.decisions import STATES, Action, Actor
from zpcode.rules.status.permissions import StatusChange
from zpcode.wire.vocabulary import Bilingual, Scope

START = datetime(2026, 11, 1, tzinfo=UTC)
GTIN = "09501101530003"
NAMES = Names(
    products={GTIN: Bilingual("双金属螺杆", "Bimetallic screw")},
    enterprises={"U1": Bilingual("青澄机械", "")},
    standards={"T/ZZB 1-2023": Bilingual("螺杆", "Screws")},
    batches={"7": (GTIN, "L-1"), "8": (GTIN, "")},
    recognitions={"PZB-1": GTIN},
    certificates={"ZM-1": "U1"},
)


def made(number: int, action: Action = Action.SUSPEND, actor: Actor = Actor.CITY, **changes: Any) -> StatusChange:
    """A decision some days after the first, with a notice."""
    base = StatusChange(
        id=number, scope=Scope.RANGE, target="7", first=0, last=9, action=action, reason="sample-test-failed",
        state=STATES[action], lifts=actor if action is Action.RESTORE else None, legal_basis="", note=Bilingual(),
        notice=f"N{number}", effective_at=START + timedelta(days=number), actor=actor, authority=Bilingual("局"),
        uscc="U1", created_at=START,
    )  # fmt: skip
    return replace(base, **changes)


def day(number: int) -> int:
    """The time when the decision with this number takes effect."""
    return int((START + timedelta(days=number)).timestamp())


def test_a_notice_is_over_when_its_authoritys_decision_is_lifted() -> None:
    """Another office may lift it; the other office's own restoration does not end it."""
    first = made(1)
    other = made(2, Action.RESTORE, Actor.PROVINCE)
    lifted = made(3, Action.RESTORE, actor=Actor.PROVINCE, lifts=Actor.CITY)
    assert notices.ended_at(first, [first, other]) == 0
    assert notices.ended_at(first, [first, other, lifted]) == day(3)


def test_a_milder_decision_of_the_same_authority_ends_a_notice_and_a_graver_one_does_not() -> None:
    """A flag after a suspension ends the notice; a revocation after it does not."""
    first = made(1)
    assert notices.ended_at(first, [first, made(2, Action.FLAG)]) == day(2)
    assert notices.ended_at(first, [first, made(2, Action.REVOKE)]) == 0
    assert notices.ended_at(first, [first, made(2)]) == 0, "the same once more"
    assert notices.ended_at(first, [first, made(2, Action.FLAG, Actor.PROVINCE)]) == 0


def test_a_range_is_over_when_the_last_of_its_items_is_let_go() -> None:
    """Piece by piece, in the order in which the decisions take effect."""
    first = made(1)
    parts = [
        made(2, Action.RESTORE, first=5, last=20),
        made(3, Action.RESTORE, first=2, last=3),
        made(4, Action.RESTORE, first=0, last=1),
        made(5, Action.RESTORE, first=4, last=4),
    ]
    for count in range(4):
        assert notices.ended_at(first, [first, *parts[:count]]) == 0
    assert notices.ended_at(first, [first, *reversed(parts)]) == day(5)


def test_what_was_decided_before_it_ends_nothing() -> None:
    """A notice about what was lifted once is in force again."""
    earlier, again = made(1, Action.RESTORE), made(2)
    assert notices.ended_at(again, [earlier, again]) == 0


@pytest.mark.parametrize(
    ("scope", "target", "bounds", "zh", "en", "gtin"),
    [
        (Scope.PRODUCT, GTIN, (None, None), "双金属螺杆", "Bimetallic screw", GTIN),
        (Scope.LOT, f"{GTIN}:L-9", (None, None), "双金属螺杆 · 批号 L-9", "Bimetallic screw · lot L-9", GTIN),
        (Scope.BATCH, "7", (None, None), "双金属螺杆 · 批号 L-1", "Bimetallic screw · lot L-1", GTIN),
        (Scope.BATCH, "8", (None, None), "双金属螺杆 · 码批次 8", "Bimetallic screw · batch of codes 8", GTIN),
        (Scope.CODE, "7:3", (None, None), "双金属螺杆 · 批号 L-1 · 其中 1 件", "Bimetallic screw · lot L-1 · 1 item of it", GTIN),
        (Scope.RANGE, "7", (0, 9), "双金属螺杆 · 批号 L-1 · 其中 10 件", "Bimetallic screw · lot L-1 · 10 items of it", GTIN),
        (Scope.RECOGNITION, "PZB-1", (None, None), "双金属螺杆 · 品牌认定 PZB-1", "Bimetallic screw · recognition PZB-1", GTIN),
        (Scope.CERTIFICATE, "ZM-1", (None, None), "青澄机械 · 认证证书 ZM-1", "青澄机械 · certificate ZM-1", ""),
        (Scope.STANDARD, "T/ZZB 1-2023", (None, None), "T/ZZB 1-2023 · 螺杆", "T/ZZB 1-2023 · Screws", ""),
        (Scope.ENTERPRISE, "U1", (None, None), "青澄机械", "", ""),
        (Scope.KEY, "ABCD", (None, None), "签名密钥 ABCD", "signing key ABCD", ""),
    ],
)  # fmt: skip
def test_what_a_notice_is_about_is_said_in_words(
    scope: Scope, target: str, bounds: tuple[int | None, int | None], zh: str, en: str, gtin: str
) -> None:
    """The name from the registry; never the serial number of an item."""
    decision = made(1, scope=scope, target=target, first=bounds[0], last=bounds[1])
    (notice,) = cards.notices_card([decision], [decision], NAMES).notices
    assert (notice.about, notice.gtin) == (Bilingual(zh, en), gtin)
    assert (notice.number, notice.scope, notice.ended_at) == ("N1", scope, 0)


def test_what_the_registry_does_not_know_keeps_its_number() -> None:
    """Nothing is left blank."""
    decision = made(1, scope=Scope.PRODUCT, target=GTIN, first=None, last=None)
    (notice,) = cards.notices_card([decision], [decision], Names()).notices
    assert notice.about == Bilingual(GTIN, GTIN)
