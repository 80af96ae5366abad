"""One rule, one place: what other modules must take from the one module that defines it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

RULES = {
    "the offset of Shanghai": (
        re.compile(r"hours=8\b|\b28_?800\b|\b8 ?\* ?(?:3_?600|60 ?\* ?60)\b|ZoneInfo\(|(?<!\d)\+08:?00"),
        "zpcode/wire/calendar.py",
    ),
    "the size of a page": (
        re.compile(r"\b(?:min|max)\([^\n]*\blimit\b|\bMAX_(?:PAGE|LISTING)(?:: Final)? ="),
        "zpcode/rules/paging.py",
    ),
    "the numbers of advisory locks": (
        re.compile(r"pg_(?:try_)?advisory|pg_locks|\b7283\d{3}\b"),
        "zpcode/store/locks.py",
    ),
    "what a public notice is": (
        re.compile(r"\.notice\s*(?:!=|==|<>)|notice <> ''"),
        "zpcode/store/status.py",
    ),
    "who sees what, in SQL": (
        re.compile(
            r"reach\.(?:uscc|region_prefix)|\.c\.region\.(?:startswith|like)|\bregion (?:LIKE|~)|uscc\.is_\(None\)"
        ),
        "zpcode/store/reach.py",
    ),
    "how text is normalised": (
        re.compile(r"unicodedata\.(?:normalize|is_normalized)|import normalize\b"),
        "zpcode/language/normalization.py",
    ),
    "how Accept-Language is read": (
        re.compile(r"\[qQ\]|[\"'; ]q=|accept_?language\w*\.(?:split|partition|lower|startswith)\("),
        "zpcode/language/negotiation.py",
    ),
}
"""Each rule: the text that defines it, and the one module that may have that text."""

SQL = re.compile(r"\bexec_driver_sql\b|[\"']\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s")
"""SQL that needs no import of SQLAlchemy, so that import-linter cannot see it."""
WITH_SQL = ("zpcode/store/", "scanweb/lookup/database.py", "zpcode/embedded/servers.py")

MIGRATIONS = "zpcode/store/migrations/"


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every module. Migrations are left out: they stay as they were when they ran."""
    for package in ("zpcode", "scanweb", "keys"):
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(MIGRATIONS):
                yield name, path.read_text("utf-8")


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_one_place(root: Path, rule: str) -> None:
    pattern, home = RULES[rule]
    assert [name for name, source in sources(root) if pattern.search(source)] == [home]


@pytest.mark.parametrize(
    ("rule", "second"),
    [
        ("the offset of Shanghai", "zone = timezone(timedelta(hours=8))"),
        ("the offset of Shanghai", "day = (now + 8 * 3600) // 86400"),
        ("the offset of Shanghai", "SECONDS = 28_800"),
        ("the offset of Shanghai", 'ZoneInfo("Asia/Shanghai")'),
        ("the offset of Shanghai", 'f"{day}T{hour}:{minute}+08:00"'),
        ("the size of a page", "listing(connection, after, max(1, min(limit, 200)))"),
        ("the size of a page", "MAX_PAGE: Final = 200"),
        ("the numbers of advisory locks", 'text("SELECT pg_advisory_xact_lock(7283099)")'),
        ("the numbers of advisory locks", "LOCK = 7283099"),
        ("what a public notice is", 'where(status_change.c.notice != "")'),
        ("who sees what, in SQL", "query.where(enterprise.c.region.startswith(prefix))"),
        ("who sees what, in SQL", "query.where(batch.c.uscc == caller.reach.uscc)"),
        ("who sees what, in SQL", "text(\"SELECT uscc FROM enterprise WHERE region LIKE '3301%'\")"),
        ("who sees what, in SQL", "status_change.c.uscc.is_(None)"),
        ("how Accept-Language is read", 'tag, _, weight = part.partition(";q=")'),
        ("how Accept-Language is read", 'accept_language.startswith("zh")'),
        ("how Accept-Language is read", 'accept_language.split(",")'),
    ],
)
def test_a_second_place_would_be_noticed(rule: str, second: str) -> None:
    assert RULES[rule][0].search(second)


def test_sql_stands_in_the_store(root: Path) -> None:
    having = {name for name, source in sources(root) if SQL.search(source)}
    assert "scanweb/lookup/database.py" in having
    assert [name for name in sorted(having) if not name.startswith(WITH_SQL)] == []


@pytest.mark.parametrize(
    "second", ["connection.exec_driver_sql(text)", 'execute("SELECT 1")', "run('DELETE FROM batch')"]
)
def test_sql_elsewhere_would_be_noticed(second: str) -> None:
    assert SQL.search(second)


def test_a_time_as_an_example_is_no_second_place() -> None:
    assert not RULES["the offset of Shanghai"][0].search("a time such as 2026-11-21T12:00:00+08:00")
