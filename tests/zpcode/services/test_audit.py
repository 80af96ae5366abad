"""Verification of the audit log's chain: whole, broken, and cut at its end; and the commands."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from tests.support.databases import as_owner
from zpcode.cli.audit import NOT_COMPARED, app
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.audit import Break
from zpcode.services.audit import show, verify
from zpcode.store import audit
from zpcode.store.database.session import transaction


@pytest.fixture
def chain(engine: Engine, now: datetime) -> bytes:
    """Six entries; the hash of the last."""
    with transaction(engine) as connection:
        for number in range(6):
            detail = {"n": number, "说明": "文字", "nested": {"list": [1, None, True]}}
            audit.append(connection, at=now, actor="cli:me", action="test", object_=f"x:{number % 2}", detail=detail)
    return verify(engine).chain.head


def tamper(engine: Engine, statement: str) -> None:
    """Do what only the owner of the database can: switch the trigger off."""
    with as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit DISABLE TRIGGER audit_append_only"))
        connection.execute(text(statement))
        connection.execute(text("ALTER TABLE audit ENABLE TRIGGER audit_append_only"))


def test_an_untouched_chain_is_whole(engine: Engine, chain: bytes) -> None:
    """An empty log, a full log, and one that has grown since its head was noted."""
    report = verify(engine, expect_head=chain, expect_count=6)
    assert report.whole
    assert (report.chain.count, report.chain.head) == (6, chain)
    with transaction(engine) as connection:
        later = datetime.fromisoformat("2026-11-22T00:00:00.123456+08:00")
        audit.append(connection, at=later, actor="a", action="b", object_="c", detail={})
    assert verify(engine, expect_head=chain, expect_count=6).whole
    assert verify(engine, expect_head=chain).whole


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET actor = 'cli:you' WHERE id = 3", Break(3, "hash")),
        ("UPDATE audit SET at = at + interval '1 microsecond' WHERE id = 6", Break(6, "hash")),
        ("UPDATE audit SET detail = jsonb_set(detail, '{n}', '9') WHERE id = 1", Break(1, "hash")),
        ("UPDATE audit SET previous = decode(repeat('00', 32), 'hex') WHERE id = 4", Break(4, "previous")),
        ("DELETE FROM audit WHERE id = 2", Break(2, "gap")),
        ("DELETE FROM audit WHERE id = 1", Break(1, "gap")),
    ],
)
def test_every_change_inside_the_chain_is_found_at_its_place(
    engine: Engine, chain: bytes, statement: str, broken: Break
) -> None:
    """The owner of the database can change an entry, but the chain shows it."""
    tamper(engine, statement)
    report = verify(engine, expect_head=chain)
    assert report.chain.broken == broken
    assert report.chain.count == broken.id - 1
    assert not report.whole


def test_a_chain_cut_at_its_end_is_found_by_what_was_noted_elsewhere(engine: Engine, chain: bytes) -> None:
    """A cut chain is valid by itself: therefore its head must be noted elsewhere."""
    tamper(engine, "DELETE FROM audit WHERE id > 4")
    assert verify(engine).whole
    assert not verify(engine, expect_head=chain).whole
    assert not verify(engine, expect_count=6).whole
    assert verify(engine, expect_count=4).whole
    assert not verify(engine, expect_head=verify(engine).chain.head, expect_count=3).whole


def test_entries_are_shown_newest_first_and_by_object(engine: Engine, chain: bytes) -> None:
    """Up to a limit."""
    assert chain
    assert [entry.id for entry in show(engine)] == [6, 5, 4, 3, 2, 1]
    assert [entry.id for entry in show(engine, "x:1", 2)] == [6, 4]
    assert show(engine, "nothing") == []


@pytest.fixture
def here(addresses: ServerAddresses, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A command line that is set to this test's servers."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    return CliRunner()


def test_the_command_prints_what_to_note_and_exits_by_what_it_found(
    engine: Engine, chain: bytes, here: CliRunner
) -> None:
    """3 for whole without a signer to compare with, 1 with the exact place for broken or cut."""
    result = here.invoke(app, ["verify", "--expect-head", chain.hex(), "--expect-count", "6"])
    assert result.exit_code == NOT_COMPARED
    assert "not all countersignatures were compared" in result.output
    assert "entries verified: 6" in result.output
    assert chain.hex() in result.output
    tamper(engine, "DELETE FROM audit WHERE id = 6")
    result = here.invoke(app, ["verify", "--expect-head", chain.hex()])
    assert result.exit_code == 1
    assert "no longer in the chain" in result.output
    tamper(engine, "UPDATE audit SET object = 'y' WHERE id = 3")
    result = here.invoke(app, ["verify"])
    assert result.exit_code == 1
    assert "entry 3 was changed" in result.output
    assert here.invoke(app, ["verify", "--expect-head", "xyz"]).exit_code == 2
    shown = here.invoke(app, ["show", "--object", "x:0", "--limit", "1"])
    assert shown.output.startswith("5  2026-11-21 12:00:00+08:00  cli:me  test  x:0  {")
