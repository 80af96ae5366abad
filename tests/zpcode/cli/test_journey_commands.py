"""`zpcode journey` on a command line: a file checked and imported, events listed, one withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.support.registry_data import gtin
from tests.support.status_setting import LOT, settle
from zpcode.cli.journey import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import ImportRefused, Refused


@pytest.fixture
def command(addresses: ServerAddresses, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on a database with one enterprise and its batches."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    settle(engine, datetime.now(UTC) - timedelta(minutes=5))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_file_is_tried_brought_in_listed_and_one_event_withdrawn(command: Any, tmp_path: Path) -> None:
    """The whole of it, on the lot."""
    file, of_lot = tmp_path / "events.csv", ("--gtin", gtin(1), "--lot", LOT)
    row = f"{gtin(1)},{LOT},"
    file.write_text(f"gtin,lot,kind,at,note_zh\n{row}生产,2026-10-08,\n{row}检验,2026-10-09 10:00,全项合格\n", "utf-8")
    assert "new 2" in command("import", file, "--dry-run").output
    assert command("list", *of_lot).output == ""
    assert "new 2, " in command("import", file).output
    assert "new 0, 已有 recorded before 2" in command("import", file).output
    first, second = command("list", *of_lot).output.splitlines()
    assert first.split("\t")[1:3] == ["2026-10-08", "produced"]
    assert second.split("\t")[1:3] == ["2026-10-09 10:00+08:00", "inspected"]
    number = second.split("\t")[0]
    assert command("withdraw", number, *of_lot, "--reason", "另一批次").exit_code == 0
    assert "已撤回 withdrawn" in command("list", *of_lot).output.splitlines()[1]


def test_a_wrong_file_and_a_wrong_subject_are_refused(command: Any, tmp_path: Path) -> None:
    """The error has the findings, which `zpcode` prints."""
    file = tmp_path / "events.csv"
    file.write_text("batch,kind,at\n4711,grown,2026-10-08\n", "utf-8")
    refused = command("import", file).exception
    assert isinstance(refused, ImportRefused)
    assert set(refused.reasons) == {"kind", "subject"}
    assert isinstance(command("list", "--batch", 1, "--lot", LOT).exception, Refused)
    assert isinstance(command("list").exception, Refused)
