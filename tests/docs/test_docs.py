"""Documents and code agree: settings, links, and the commands of the README."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from keys.settings import KeySettings
from scanweb.settings import ScanSettings
from zpcode.api.http import problems
from zpcode.embedded.servers import AUTHORITY_ACL, SCAN_ACL
from zpcode.errors import Finding, Text
from zpcode.exports.formats import EXPORTS
from zpcode.settings import AuthoritySettings

READERS: dict[str, type[BaseSettings]] = {
    "authority": AuthoritySettings,
    "scanweb": ScanSettings,
    "signer": KeySettings,
}


def _documented(root: Path) -> dict[str, set[str]]:
    """Rows of docs/settings.md: variable -> the processes that read it."""
    text = (root / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(ZPCODE_[A-Z_]+)` \|[^|]*\| ([a-z, ]+) \|", text, re.MULTILINE)
    return {name: {reader.strip() for reader in readers.split(",")} for name, readers in rows}


def test_every_setting_is_documented_and_every_documented_one_exists(root: Path) -> None:
    """One table for all processes: name by name, reader by reader."""
    existing: dict[str, set[str]] = {}
    for reader, settings in READERS.items():
        for field in settings.model_fields:
            existing.setdefault(f"ZPCODE_{field.upper()}", set()).add(reader)
    assert _documented(root) == existing


def test_every_file_format_is_documented(root: Path) -> None:
    """The row of the order, and a paragraph with name, media type and file name."""
    page = (root / "docs" / "issuing.md").read_text("utf-8")
    offered = re.search(r"^\| format \| the file format: (.+) \|$", page, re.MULTILINE)
    assert offered is not None
    assert re.findall(r"`([^`]+)`", offered[1]) == list(EXPORTS)
    for name, export in EXPORTS.items():
        assert f"Format `{name}`, media type `{export.media_type}`, file `batch-N{export.suffix}`" in page


@pytest.mark.parametrize("reader", READERS)
def test_the_code_describes_every_setting_in_the_words_of_the_page(reader: str, root: Path) -> None:
    """A link counts as its text."""
    page = (root / "docs" / "settings.md").read_text("utf-8")
    rows = re.findall(r"^\| `(ZPCODE_[A-Z_]+)` \|[^|]*\|[^|]*\| (.+) \|$", page, re.MULTILINE)
    meanings = {name: re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", meaning) for name, meaning in rows}
    described = {f"ZPCODE_{name.upper()}": field.description for name, field in READERS[reader].model_fields.items()}
    assert described == {name: meanings[name] for name in described}


def test_the_problem_that_the_page_shows_is_one_of_the_api(root: Path) -> None:
    """docs/api.md, "Errors": its members, its title in both languages, its finding."""
    shown = json.loads((root / "docs" / "api.md").read_text("utf-8").partition("```json\n")[2].partition("```")[0])
    text = Text(shown["languages"]["zh"]["detail"], shown["languages"]["en"]["detail"])
    (error,) = shown["errors"]
    finding = Finding(error["reason"], Text(**error["languages"]), error["pointer"], error["value"])
    request_id = shown["instance"].removeprefix("urn:uuid:")
    kind = problems.KINDS[shown["type"].removeprefix("/problems/")]
    assert shown == problems.document(kind, text, language="en", request_id=request_id, findings=(finding,))


def test_every_link_between_documents_leads_somewhere(root: Path) -> None:
    """Relative links only; anchors are not followed."""
    broken = [
        f"{page.relative_to(root)}: {target}"
        for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_decision_that_is_cited_exists(root: Path) -> None:
    """As `ADR 6` or `docs/adr/0006`, in documents, source and tests."""
    existing = {int(page.name[:4]) for page in (root / "docs/adr").glob("*.md")}
    assert existing == set(range(1, len(existing) + 1))
    texts = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    texts += [
        path for name in ("zpcode", "scanweb", "keys", "loadtests", "tests") for path in (root / name).rglob("*.py")
    ]
    cited = {int(number) for path in texts for number in re.findall(r"(?:\bADR |adr/)0*(\d+)", path.read_text("utf-8"))}
    assert {6, 7} <= cited <= existing


def test_the_pages_name_only_make_targets_that_exist(root: Path) -> None:
    """Each word after `make` in backquotes or at the start of a line of commands, up to a variable such as `HOST=…`."""
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in [*root.glob("*.md"), root / "loadtests" / "README.md", *(root / "docs").rglob("*.md")]:
        text = page.read_text("utf-8")
        code = "\n".join(
            [*re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL), *re.findall(r"`(.+?)`", text)]
        )
        groups = re.findall(r"^make ((?:[a-z-]+ ?)+)", code, re.MULTILINE)
        assert {word for group in groups for word in group.split()} <= targets, page.name


def test_the_roles_in_valkey_are_deployed_as_they_are_tested(root: Path) -> None:
    """The users a production Valkey loads are those that the demo and the tests run with."""
    users = (root / "deploy" / "valkey-users.acl").read_text("utf-8").splitlines()
    assert [line.partition(" >")[2].partition(" ")[2] for line in users[1:]] == [AUTHORITY_ACL, SCAN_ACL]
