"""`zpcode issue` and `zpcode batches …` on a command line."""

from __future__ import annotations

import getpass
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from typer import Typer
from typer.testing import CliRunner

from keys.ceremony import retire
from keys.document import statement_of
from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import house
from tests.support.issuing_setting import GTIN, OPERATOR, KeyHouse
from zpcode import __main__
from zpcode.cli import batches as commands
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import NotFound, Refused
from zpcode.exports.formats import file_name
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import BatchState
from zpcode.rules.continuity import Marks
from zpcode.services.batches import reserve
from zpcode.store import continuity, recovery
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys

__all__ = ["house"]


@pytest.fixture(autouse=True)
def _set(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.register(engine, setting.product_card())
    setting.continue_after(engine, house)
    for name, value in (
        ("DATABASE_URL", addresses.database),
        ("MIGRATION_URL", addresses.owner_database),
        ("REDIS_URL", addresses.redis),
        ("SIGNER_SOCKET", str(house.socket)),
        ("EXPORT_DIR", str(tmp_path / "exports")),
        ("FILE_KEY", str(code_folder(tmp_path / "exports").key_file)),
        ("PUBLIC_BASE", setting.BASE),
    ):
        monkeypatch.setenv(f"ZPCODE_{name}", value)


def _run(app: Typer, *arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None:
        raise done.exception
    return done.output


def _issue(*more: str, gtin: str = GTIN, quantity: str = "20") -> str:
    return _run(commands.commands, "--level", "item", "--gtin", gtin, "--quantity", quantity, *more)


def test_a_batch_is_issued_shown_and_projected(engine: Engine, redis: Redis, tmp_path: Path) -> None:
    """The output has number, file and hash; the audit log has the login name; Redis has the card."""
    output = _issue("--lot", "L1", "--production-date", "2026-01-05")
    number = int(re.findall(r"batch (\d+)", output)[0])
    batch = reserve.get(engine, number, OPERATOR)
    assert batch.state is BatchState.ISSUED
    assert batch.sha256 in output
    assert str(tmp_path / "exports" / file_name(batch)) in output
    assert batch.created_by == f"operator:*:cli:{getpass.getuser()}"
    assert redis.exists(redis_keys.location(f"b:{number}")[0])
    shown = _run(commands.app, "show", str(number))
    assert batch.sha256 in shown
    assert "20 / 20" in shown
    for secret in filter(None, (batch.permutation_key, batch.check_key)):
        assert secret.hex() not in shown
    assert f"{number}\t" in _run(commands.app, "list")


def test_a_lost_batch_is_called_lost_and_not_unknown(engine: Engine) -> None:
    """Only to the operator: an enterprise learns nothing of other numbers."""
    with transaction(engine) as connection:
        continuity.add_recovery(connection, at=datetime.now(UTC), actor="test", audit_id=1, taken_in={})
        recovery.move_sequences(connection, Marks(batch=777))
        connection.execute(text("INSERT INTO lost_batch (number, recovery) SELECT 777, max(id) FROM recovery"))
    with pytest.raises(NotFound, match="the record of batch 777 was lost when the database was restored"):
        _run(commands.app, "show", "777")
    with pytest.raises(NotFound, match="there is no batch 777"):
        reserve.get(engine, 777, Caller(Role.ENTERPRISE, setting.USCC, "1"))
    with pytest.raises(NotFound, match="there is no batch 778"):
        _run(commands.app, "show", "778")


def test_a_gtin_of_13_digits_is_taken_for_what_it_is(engine: Engine) -> None:
    """People type the digits under the bar code."""
    _issue(gtin=GTIN[1:])
    assert reserve.listing(engine, OPERATOR)[0].gtin == GTIN


def test_the_same_key_goes_on_with_the_same_batch(engine: Engine) -> None:
    """After an interruption: no second batch."""
    assert _issue("--key", "again") == _issue("--key", "again")
    assert len(reserve.listing(engine, OPERATOR)) == 1


def test_a_refusal_has_its_reasons(engine: Engine) -> None:
    """The error has the reasons; nothing is reserved."""
    with pytest.raises(Refused) as refusal:
        _issue(quantity="0")
    assert refusal.value.reasons == ("quantity",)
    with pytest.raises(Refused) as refusal:
        _issue("--expiry-date", "5.1.2027")
    assert refusal.value.reasons == ("dates",)
    with pytest.raises(NotFound):
        _run(commands.app, "show", "99")
    assert reserve.listing(engine, OPERATOR) == []


def test_a_key_is_archived_before_it_is_retired(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An active key may start batches: no statement. Then the statement is what `zpkeys retire` takes."""
    own = setting.key_house(tmp_path / "own")
    for name, value in (
        ("KEYRING", own.room.keyring),
        ("ROOT_PUBLIC", own.room.root_public),
        ("SIGNER_SOCKET", own.socket),
    ):
        monkeypatch.setenv(f"ZPCODE_{name}", str(value))
    statement = tmp_path / "statement.json"
    with own.signer():
        _issue()
        (batch,) = reserve.listing(engine, OPERATOR)
        arguments = ("archive", "--key", batch.key_id, "--statement", str(statement))
        with pytest.raises(Refused, match="zpkeys rotate"):
            _run(commands.app, *arguments)
        setting.rotate_key(own)
        assert str(statement) in _run(commands.app, *arguments)
    stated = statement_of(statement.read_bytes())
    assert (stated.key, stated.batches, stated.codes) == (batch.key_id, 1, 20)
    now = datetime.now(UTC)
    retire(own.room, batch.key_id, statement=stated, root_passphrase=setting.WORD, now=now)
    content_before = content(code_folder(tmp_path / "exports"), batch)
    (tmp_path / "exports" / file_name(batch)).unlink()
    _run(commands.app, "export", str(batch.number))
    assert content(code_folder(tmp_path / "exports"), batch) == content_before


def test_the_first_migration_makes_the_file_key_and_no_later_one(tmp_path: Path) -> None:
    """Once there are batches, a key that is missing is lost or on another host: to make one would hide this."""
    key = code_folder(tmp_path / "exports").key_file
    key.unlink()
    assert str(key) in _run(__main__.app, "migrate")
    made = key.read_bytes()
    assert "back it up" not in _run(__main__.app, "migrate")
    assert key.read_bytes() == made
    _issue()
    key.unlink()
    assert "zpcode batches encrypt --new-key" in _run(__main__.app, "migrate")
    assert not key.exists()


def test_all_files_are_encrypted_with_a_new_key(engine: Engine, tmp_path: Path) -> None:
    """A file that cannot be is named, and the command ends with 1."""
    _issue()
    (batch,) = reserve.listing(engine, OPERATOR)
    folder = code_folder(tmp_path / "exports")
    before, raw = content(folder, batch), folder.finished(batch).read_bytes()
    assert "encrypted: 1" in _run(commands.app, "encrypt", "--new-key")
    assert content(folder, batch) == before
    assert folder.finished(batch).read_bytes()[:96] != raw[:96]
    folder.finished(batch).write_bytes(b"not a code file")
    done = CliRunner().invoke(commands.app, ["encrypt"])
    assert done.exit_code == 1
    assert f"{batch.number}: " in done.output


def test_a_batch_is_activated_and_exported_again(engine: Engine, tmp_path: Path) -> None:
    """The file is the same wherever it is written."""
    _issue("--activation", "manual")
    (batch,) = reserve.listing(engine, OPERATOR)
    assert batch.activated_at is None
    _run(commands.app, "activate", str(batch.number))
    assert reserve.get(engine, batch.number, OPERATOR).activated_at is not None
    original = content(code_folder(tmp_path / "exports"), batch)
    (tmp_path / "exports" / file_name(batch)).unlink()
    copy = tmp_path / "codes.csv"
    _run(commands.app, "export", str(batch.number), "--to", str(copy), "--reason", "reprint")
    assert copy.read_bytes() == original == content(code_folder(tmp_path / "exports"), batch)
    assert copy.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        _run(commands.app, "export", str(batch.number), "--to", str(copy), "--reason", "reprint")
