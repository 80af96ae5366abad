"""`zpcode fsck` as a command: its output in both languages and its exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support import issuing_setting
from tests.support.fsck_setting import CheckedService
from tests.support.issuing_setting import KeyHouse
from tests.support.registry_data import uscc
from zpcode.cli.fsck import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.audit_heads import Countersigner, HeadFile
from zpcode.services.fsck import run
from zpcode.wire import redis_keys


@pytest.fixture
def house(tmp_path: Path) -> Iterator[KeyHouse]:
    """A signer for one database: it would report the audit log of another one as written again."""
    house = issuing_setting.key_house(tmp_path / "kh")
    with house.signer(1):
        yield house


@pytest.fixture
def command(
    addresses: ServerAddresses, world: CheckedService, house: KeyHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The command line on this world."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    monkeypatch.setenv("ZPCODE_KEYRING", str(house.room.keyring))
    monkeypatch.setenv("ZPCODE_ROOT_PUBLIC", str(house.room.root_public))
    monkeypatch.setenv("ZPCODE_EXPORT_DIR", str(world.context.exports.path))
    monkeypatch.setenv("ZPCODE_FILE_KEY", str(world.context.exports.key_file))
    monkeypatch.setenv("ZPCODE_SIGNER_SOCKET", str(house.socket))
    heads = tmp_path / "audit-heads.jsonl"
    monkeypatch.setenv("ZPCODE_AUDIT_HEADS", str(heads))
    with house.client() as signer:
        Countersigner(world.engine, signer, HeadFile(heads)).step()
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_command_says_what_holds_and_ends_with_0(command: Any) -> None:
    """One line for each check; with the database role of production."""
    result = command("--deep")
    assert result.exit_code == 0, result.output
    assert result.output.count("[成立 / holds]") == len(run.NAMES)


def test_the_command_says_where_what_and_what_to_do_and_ends_with_1(world: CheckedService, command: Any) -> None:
    """In both languages, and as JSON the same."""
    world.file(world.item).unlink()
    result = command()
    assert result.exit_code == 1
    assert f"batch-{world.item}.csv: 文件缺失 / the file is missing" in result.output
    assert "zpcode batches export" in result.output
    answer = json.loads(command("--json", "--only", "code-files").output)
    assert answer["whole"] is False
    (check,) = answer["checks"]
    assert (check["name"], check["state"], check["wrong"]) == ("code-files", "broken", 1)
    assert check["findings"][0]["where"] == f"batch-{world.item}.csv"


def test_the_command_ends_with_2_on_a_check_there_is_not(command: Any) -> None:
    """A monitor of the exit status must not take a typing error for damage."""
    result = command("--only", "cards", "--only", "everything")
    assert result.exit_code == 2
    assert "everything" in result.output


def test_the_command_repairs_and_says_each_repair(world: CheckedService, command: Any) -> None:
    """And ends with 0 where nothing is left."""
    world.redis.hdel(redis_keys.STANDINGS, f"enterprise:{uscc(1)}")
    result = command("--repair")
    assert result.exit_code == 0, result.output
    assert f"wrote s:enterprise:{uscc(1)} to Redis again" in result.output
    assert "[已修复 / repaired] projection" in result.output
