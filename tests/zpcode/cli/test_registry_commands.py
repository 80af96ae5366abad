"""`zpcode import` as an operator types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, select
from typer.testing import CliRunner

from tests.support.registry_data import as_json, as_workbook, as_xlsx, gtin, registry
from zpcode.cli.registry import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Refused, Unavailable
from zpcode.services.registry.files.archive import MAX_FILE
from zpcode.store.tables import registry as tables
from zpcode.wire import redis_keys
from zpcode.wire.card import product_key


@pytest.fixture
def run(addresses: ServerAddresses, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line, pointed at this test's servers."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    return CliRunner()


def _products(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(tables.product.c.gtin)).scalars())


def test_the_template_it_writes_can_be_filled_in_and_imported(run: CliRunner, tmp_path: Path, engine: Engine) -> None:
    blank, filled = tmp_path / "blank.xlsx", tmp_path / "filled.xlsx"
    assert run.invoke(app, ["--template", str(blank)]).exit_code == 0
    assert blank.read_bytes().startswith(b"PK")
    as_workbook(registry()).save(filled)
    result = run.invoke(app, [str(filled)])
    assert result.exit_code == 0, result.output
    assert "产品 Products: 新增 new 1" in result.output
    assert _products(engine) == [gtin()]


def test_an_import_is_in_redis_when_the_command_returns(run: CliRunner, tmp_path: Path, redis: Redis) -> None:
    file = tmp_path / "registry.json"
    file.write_bytes(as_json(registry()))
    assert run.invoke(app, [str(file)]).exit_code == 0
    assert redis.exists(redis_keys.location(product_key(gtin()))[0])


def test_a_dry_run_says_so_and_writes_nothing(run: CliRunner, tmp_path: Path, engine: Engine) -> None:
    file = tmp_path / "registry.xlsx"
    file.write_bytes(as_xlsx(registry()))
    result = run.invoke(app, [str(file), "--dry-run"])
    assert result.exit_code == 0
    assert "试运行" in result.output
    assert _products(engine) == []


def test_findings_are_reported_in_both_languages_and_the_command_fails(
    run: CliRunner, tmp_path: Path, engine: Engine
) -> None:
    content = registry()
    content["indicators"][0]["product_value"] = "59"
    content["enterprises"][0]["region"] = "999999"
    file = tmp_path / "registry.json"
    file.write_bytes(as_json(content))
    result = run.invoke(app, [str(file)])
    assert result.exit_code == 1
    assert "/indicators/0/product_value/zh [59]: 指标“表面硬度”不符合本标准" in result.output
    assert "does not meet its own standard: product 59, standard ≥ 60" in result.output
    assert "/enterprises/0/region [999999]" in result.output
    assert _products(engine) == []


def test_changes_are_reported_with_old_and_new(run: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    content = registry()
    file.write_bytes(as_json(content))
    assert run.invoke(app, [str(file)]).exit_code == 0
    content["products"][0]["model"] = "QC-2"
    file.write_bytes(as_json(content))
    assert "model: QC-1 → QC-2" in run.invoke(app, [str(file)]).output


def test_a_file_that_is_not_there_and_one_too_large_are_refused(run: CliRunner, tmp_path: Path) -> None:
    assert isinstance(run.invoke(app, [str(tmp_path / "none.xlsx")]).exception, Refused)
    large = tmp_path / "large.xlsx"
    with large.open("wb") as file:
        file.truncate(MAX_FILE + 1)
    error = run.invoke(app, [str(large)]).exception
    assert isinstance(error, Refused)
    assert error.reasons == ("too_large",)


def test_without_a_file_it_says_what_it_needs(run: CliRunner) -> None:
    assert run.invoke(app, []).exit_code == 2


def test_without_a_database_it_names_the_settings_and_makes_no_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever mistypes ZPCODE_HOME is not told to wait for a server that nobody starts."""
    home, file = tmp_path / "mistyped", tmp_path / "registry.json"
    file.write_bytes(as_json(registry()))
    monkeypatch.setenv("ZPCODE_HOME", str(home))
    monkeypatch.delenv("ZPCODE_DATABASE_URL", raising=False)
    done = CliRunner().invoke(app, [str(file)])
    assert isinstance(done.exception, Unavailable)
    assert f"no demo runs in {home}" in done.exception.text.en
    assert not (home / "secrets").exists()
