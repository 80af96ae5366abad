"""`zpcode complaints`: an office handles a complaint on the command line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from tests.zpcode.services.test_complaints import COMPLAINT_FORM, furnished, received, registered
from zpcode.cli import complaints as commands
from zpcode.embedded.servers import ServerAddresses

__all__ = ["furnished", "registered"]


def test_the_command_line_handles_a_complaint(
    registered: Engine, addresses: ServerAddresses, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    number = received(registered, now, COMPLAINT_FORM, b"jpeg").number

    def run_(*words: str) -> str:
        done = CliRunner().invoke(commands.app, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    listed = run_("list")
    assert number in listed
    assert COMPLAINT_FORM.description not in listed
    photo, elsewhere = tmp_path / f"{number}-1.jpg", tmp_path / "elsewhere"
    photo.symlink_to(elsewhere)  # by another user of a shared folder
    shown = run_("show", number.lower(), "--photos", str(tmp_path))
    assert COMPLAINT_FORM.contact in shown
    assert not elsewhere.exists()
    assert (photo.read_bytes(), photo.stat().st_mode & 0o777) == (b"jpeg", 0o600)
    run_("assign", number, "330203")
    run_("start", number)
    run_("answer", number, "--text", "We are at it")
    assert "closed" in run_("close", number, "--text", "Done")
    assert "We are at it" in run_("show", number)
    assert run_("list", "--state", "received") == ""
