"""docs/status.md agrees with the code: permissions, reasons, actions and scopes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zpcode.api.schemas import DecisionOrder
from zpcode.rules.status.decisions import ACTIONS, Action, Actor
from zpcode.rules.status.permissions import HORIZON, MAX_NOTICE, MAX_TARGET, MAX_TEXT, MAY
from zpcode.rules.status.reasons import REASONS, Reason
from zpcode.rules.status.shares import MAX_BYTES, MAX_DECISIONS, MAX_PENDING, MAX_RANGES
from zpcode.services.fsck import run
from zpcode.store.database import privileges
from zpcode.store.tables.columns import metadata
from zpcode.wire.vocabulary import Scope


@pytest.fixture
def document(root: Path) -> str:
    """The text."""
    return (root / "docs" / "status.md").read_text("utf-8")


def rows(document: str, heading: str, level: str = "##") -> list[list[str]]:
    """The cells of the first table under a heading, without its two header lines."""
    section = document.split(f"{level} {heading}\n", 1)[1].split(f"\n{level} ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell: str) -> set[str]:
    """The words of a cell; a dash is none."""
    return set() if cell == "—" else {word.strip() for word in cell.split(",")}


def test_who_may_do_what_is_documented_as_it_is(document: str) -> None:
    """Each cell of the table, for every scope and actor."""
    table = rows(document, "Who may do what")
    assert [row[0] for row in table] == [scope.value for scope in Scope]
    for row in table:
        for actor, cell in zip(MAY, row[1:], strict=True):
            assert words(cell) == {action.value for action in MAY[actor].get(Scope(row[0]), ())}, (row[0], actor)


def test_every_reason_is_documented_as_it_is(document: str) -> None:
    """Texts, actions, scopes, actors and marks."""
    documented = {row[0].strip("`"): row[1:] for row in rows(document, "Reasons")}
    assert list(documented) == list(REASONS)
    for slug, (zh, en, actions, scopes, actors, marks) in documented.items():
        reason = REASONS[slug]
        assert (zh, en) == (reason.text.zh, reason.text.en)
        assert words(actions) == {action.value for action in reason.actions}
        assert words(scopes) == {scope.value for scope in reason.scopes}
        assert words(actors) == {actor.value for actor in reason.actors}
        assert words(marks) == marks_of(reason)


def marks_of(reason: Reason) -> set[str]:
    """The notes a reason's row should have."""
    marks = {"basis": reason.needs_basis, "ends": reason.ends, "bars": reason.bars}
    return {name for name, holds in marks.items() if holds}


def test_every_action_and_scope_is_explained(document: str) -> None:
    """One row each, in the order of the code."""
    actions = [row for row in rows(document, "Actions") if row[0] in set(Action)]
    assert [(row[0], row[1]) for row in actions] == [(action.value, ACTIONS[action].zh) for action in Action]
    assert [row[0] for row in rows(document, "Scopes and targets")] == [scope.value for scope in Scope]


def test_the_limits_are_the_codes(document: str) -> None:
    """A limit that changes in the code must change in the document."""
    assert (
        f"Target {MAX_TARGET} characters, legal basis and each language of the note {MAX_TEXT}, notice {MAX_NOTICE};"
        in document
    )
    assert f"At most {MAX_PENDING} decisions of one kind of actor may wait" in document
    assert [row[1] for row in rows(document, "Limits")] == [
        f"{MAX_PENDING}",
        f"{MAX_RANGES}",
        ", ".join(f"{actor} {MAX_BYTES[actor] // 1024} KiB" for actor in Actor),
        f"{MAX_DECISIONS}",
    ]
    assert sum(MAX_BYTES.values()) == 320 * 1024
    assert "up to a year ahead" in document
    assert HORIZON.days == 366


def test_the_request_that_is_documented_is_one(document: str) -> None:
    """The body of the curl example is a `DecisionOrder`, its reason allows the action at the scope, and no basis is missing."""
    (body,) = re.findall(r"^curl .* -d '(\{.*?\})'$", document, re.MULTILINE | re.DOTALL)
    order = DecisionOrder.model_validate_json(body)
    reason = REASONS[order.reason]
    assert order.action in reason.actions
    assert order.scope in reason.scopes
    assert order.legal_basis or not reason.needs_basis


def test_every_table_that_the_authority_may_change_has_its_check(document: str) -> None:
    """A table that gets UPDATE or DELETE needs a row: which check shows a change past the service, and what it compares."""
    listed = {
        row[0].strip("`"): row[1:] for row in rows(document, "Which check shows a change past the service", "###")
    }
    changeable = {name for name, rights in privileges.TABLES.items() if "UPDATE" in rights or "DELETE" in rights}
    assert listed.keys() == changeable | {f"{privileges.QUEUE_PREFIX}*"}
    assert {check.strip("`") for check, _ in listed.values()} <= set(run.NAMES)
    assert all(len(compared) > 5 for _, compared in listed.values())


def test_each_column_that_is_compared_with_nothing_is_one_that_may_change(document: str) -> None:
    """What no check compares is named, with the reason."""
    listed = rows(document, "Which check shows a change past the service", "###")
    named = {(row[0].strip("`"), name) for row in listed for name in re.findall(r"`(\w+)` with nothing: [`\w]", row[2])}
    assert named == {
        ("api_key", "last_used_at"),
        ("batch", "problem"),
        ("complaint", "likeness"),
        ("enterprise", "updated_at"),
    }
    for table, column in named:
        assert column in metadata.tables[table].c
