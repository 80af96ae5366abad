"""`zpcode flag|suspend|recall|revoke|restore`: the operator at a terminal."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.support.registry_data import gtin
from tests.support.status_setting import (
    MAKER,
    EnterpriseBatches,
    ask,
    decided,
    furnished,
    in_redis,
    item_verdict,
    world,
)
from zpcode.cli.status import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.projection.projector import catch_up
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.reasons import REASONS
from zpcode.services import audit
from zpcode.services.status.change import history
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

__all__ = ["furnished", "world"]


@pytest.fixture
def zpcode(addresses: ServerAddresses, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line, set to this test's servers."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_revocation_typed_is_on_the_page_and_in_the_log(
    engine: Engine, redis: Redis, world: EnterpriseBatches, zpcode: Any
) -> None:
    """Projected at once; the system user is named."""
    catch_up(engine, redis)
    result = zpcode(
        "revoke", "range", world.item, "--first", 3, "--last", 5, "--reason", "labels-stolen",
        "--note", "标签被盗", "--note-en", "stolen labels", "--notice", "2026-9",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"#1 revoke range {world.item} [3–5] → revoked" in result.output
    assert "Redis is not updated" not in result.output
    made = history(engine, Scope.RANGE, str(world.item), MAKER)[0]
    outcome = item_verdict(in_redis(redis), world.item, 4, made.effective_at)
    assert outcome.verdict is Verdict.REVOKED
    assert outcome.standing is not None
    assert (outcome.standing.notice, outcome.standing.note.en) == ("2026-9", "stolen labels")
    assert audit.show(engine, f"range:{world.item}")[0].actor == f"operator:*:cli:{getpass.getuser()}"


def test_every_action_is_a_command(engine: Engine, world: EnterpriseBatches, zpcode: Any) -> None:
    """Each is recorded as itself."""
    for action, reason in (("flag", "cloning-suspected"), ("suspend", "labels-stolen"), ("revoke", "labels-stolen")):
        assert zpcode(action, "code", f"{world.item}:1", "--reason", reason).exit_code == 0
    assert zpcode("recall", "code", f"{world.item}:1", "--reason", "labelling-error").exit_code == 0
    restored = zpcode("restore", "code", f"{world.item}:1", "--reason", "rectified")
    assert "lifts the decision of: operator" in restored.output
    made = history(engine, Scope.CODE, f"{world.item}:1", MAKER)
    assert [change.action for change in made] == [
        Action.FLAG,
        Action.SUSPEND,
        Action.REVOKE,
        Action.RECALL,
        Action.RESTORE,
    ]


def test_a_refusal_says_what_to_do_and_exits_with_1(world: EnterpriseBatches, zpcode: Any) -> None:
    """All findings, in both languages; a wrong word or time is a usage error."""
    result = zpcode("revoke", "batch", world.item, "--reason", "counterfeit-confirmed")
    assert result.exit_code == 1
    assert "该理由须写明法律依据" in result.output
    assert "/legal_basis" in result.output
    assert zpcode("revoke", "batch", 60000000, "--reason", "labels-stolen").exit_code == 1
    assert zpcode("revoke", "everything", 1, "--reason", "labels-stolen").exit_code == 2
    assert zpcode("revoke", "batch", world.item, "--reason", "labels-stolen", "--effective", "tomorrow").exit_code == 2


def test_a_time_without_a_zone_is_hangzhous(
    engine: Engine, world: EnterpriseBatches, zpcode: Any, now: datetime
) -> None:
    """Also prints until when a revoked recognition bars a new application."""
    assert world.item
    decided(engine, MAKER, now, ask(Scope.BATCH, world.item, Action.FLAG, "quality-check"))
    day = datetime.now(now.tzinfo).year + 1
    result = zpcode(
        "revoke", "recognition", "PZB-0001", "--reason", "recognition-cancelled", "--basis", "指引附件二",
        "--effective", f"{day}-01-01T00:00",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{day}-01-01 00:00:00+08:00" in result.output
    assert f"may apply again from: {day + 3}-01-01" in result.output
    result = zpcode("flag", "product", gtin(), "--reason", "counterfeit-suspected")
    assert zpcode("flag", "product", gtin(), "--reason", "counterfeit-suspected").output.startswith("此前已有相同决定")


def test_the_reasons_are_listed(zpcode: Any) -> None:
    """Every one that somebody may give."""
    result = zpcode("reasons").output
    assert all(slug in result for slug, one in REASONS.items() if one.actors)
