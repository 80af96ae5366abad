"""`zpcode scans drop`: the operator drops the single scans of months that are long past."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

import zpcode.__main__
from zpcode.embedded.servers import ServerAddresses
from zpcode.services import audit, scan_retention
from zpcode.services.scans import ensure_partitions
from zpcode.store.database.session import transaction


@pytest.fixture
def filled(engine: Engine, addresses: ServerAddresses, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Two scans in January 2024 and one in February, which ensures March as well."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    for month in (date(2024, 1, 1), date(2024, 2, 1)):
        ensure_partitions(engine, month)
    with transaction(engine) as connection:
        for at in ("2024-01-01 00:00Z", "2024-01-31 23:59:59Z", "2024-02-01 00:00Z"):
            statement = text("INSERT INTO scan (at, entry, gtin, verdict) VALUES (:at, :entry, '1', 'verified')")
            connection.execute(statement, {"at": at, "entry": at})
    return engine


def run(*words: str) -> Result:
    """The outcome of a command."""
    return CliRunner().invoke(zpcode.__main__.app, ["scans", "drop", *words])


def months(engine: Engine) -> list[tuple[str, int]]:
    """The months that have scans, and how many."""
    query = text("SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM scan GROUP BY 1 ORDER BY 1")
    with transaction(engine) as connection:
        return [(row[0], row[1]) for row in connection.execute(query)]


def test_the_command_lists_first_and_drops_only_when_told(filled: Engine) -> None:
    listed = run("--before", "2024-02")
    assert (listed.exit_code, "2024-01\t2\t可删除" in listed.output) == (0, True)
    assert months(filled) == [("2024-01", 2), ("2024-02", 1)]
    dropped = run("--before", "2024-02", "--apply")
    assert (dropped.exit_code, "2024-01\t2\t已删除" in dropped.output) == (0, True)
    assert months(filled) == [("2024-02", 1)]
    assert "there are no earlier scans" in run("--before", "2024-02", "--apply").output


def test_each_dropped_month_is_in_the_audit_log(filled: Engine) -> None:
    run("--before", "2024-03", "--apply")
    with transaction(filled) as connection:
        entries = connection.execute(
            text("SELECT object, detail FROM audit WHERE action = 'scans.drop' ORDER BY id")
        ).all()
    assert [tuple(entry) for entry in entries] == [("scans:2024-01", {"scans": 2}), ("scans:2024-02", {"scans": 1})]
    assert audit.verify(filled).whole


def test_scans_of_the_last_half_year_are_refused_and_what_is_no_month(filled: Engine) -> None:
    refused = run("--before", f"{datetime.now(UTC):%Y-%m}", "--apply")
    assert isinstance(refused.exception, Exception)
    assert "kept for half a year" in str(refused.exception)
    for wrong in ("2024", "2024-13", "2024-01-01", "0124-1"):
        assert run("--before", wrong).exit_code == 2
    assert len(months(filled)) == 2


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 8, 1, tzinfo=UTC), date(2026, 2, 1)),
        (datetime(2026, 7, 31, 23, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 3, 5, tzinfo=UTC), date(2025, 9, 1)),
    ],
)
def test_a_month_is_kept_until_half_a_year_after_its_end(now: datetime, month: date) -> None:
    """January may be dropped in August: first + 7 months."""
    assert scan_retention.earliest_kept(now) == month
