"""`zpkeys` as a person runs it: the commands end to end, in both languages, with files and without."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keys.document import ArchiveStatement, statement_bytes
from keys.keyring import fingerprint
from keys.log.chain import BEGINNING, chained, hash_of


@dataclass
class CeremonyDesk:
    """A folder with two passphrase files, and the command run in it."""

    home: Path

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `zpkeys` without a terminal."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("ZPCODE_")}
        own |= {
            "ZPCODE_HOME": str(self.home),
            "ZPCODE_KEY_PASSPHRASE_FILE": str(self.word("key", "passphrase of the keys")),
            "ZPCODE_ROOT_PASSPHRASE_FILE": str(self.word("root", "passphrase of the root")),
        }
        own |= environment
        own = {name: value for name, value in own.items() if value}
        return subprocess.run(
            [sys.executable, "-m", "keys", *arguments],
            env=own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def word(self, name: str, text: str) -> Path:
        """A passphrase file, made if it is not there."""
        path = self.home.parent / f"{name}.words"
        if not path.exists():
            path.write_text(text + "\n")
            path.chmod(0o600)
        return path

    def keys(self) -> dict[str, str]:
        """What `zpkeys list --json` says: id → state."""
        return {key["id"]: key["state"] for key in json.loads(self.run("list", "--json").stdout)["keys"]}


@pytest.fixture
def desk(tmp_path: Path) -> CeremonyDesk:
    """A desk with nothing on it."""
    return CeremonyDesk(tmp_path / "home")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> CeremonyDesk:
    """A desk with a root and a first key, made once and never changed."""
    desk = CeremonyDesk(tmp_path_factory.mktemp("prepared") / "home")
    assert desk.run("init").returncode == 0
    assert desk.run("create").returncode == 0
    return desk


@pytest.fixture
def begun(prepared: CeremonyDesk, tmp_path: Path) -> CeremonyDesk:
    """A copy of that desk."""
    shutil.copytree(prepared.home.parent, tmp_path, dirs_exist_ok=True)
    return CeremonyDesk(tmp_path / "home")


def test_each_purpose_has_a_key_of_its_own(begun: CeremonyDesk) -> None:
    made = begun.run("create", "--purpose", "audit-head")
    assert made.returncode == 0, made.stderr
    listed = json.loads(begun.run("list", "--json").stdout)["keys"]
    assert [(key["purpose"], key["state"]) for key in listed] == [("codes", "active"), ("audit-head", "active")]
    assert begun.run("create", "--purpose", "audit-head").returncode == 1
    assert begun.run("rotate", "--purpose", "audit-head", "--yes").returncode == 0
    assert sorted(begun.keys().values()) == ["active", "active", "retired"]
    assert begun.run("create", "--purpose", "seals").returncode == 2


def test_the_signing_log_is_checked(begun: CeremonyDesk) -> None:
    log = begun.home / "log/signer.jsonl"
    log.parent.mkdir()
    lines = [chained({"kind": "items", "batch": 5}, BEGINNING)]
    lines.append(chained({"kind": "items", "batch": 4}, hash_of(lines[0].strip())))
    log.write_bytes(b"".join(lines))
    assert "2 lines; highest batch 5" in begun.run("verify-log").stdout
    log.write_bytes(b"".join(lines).replace(b":5", b":6"))
    ended = begun.run("verify-log", str(log))
    assert ended.returncode == 1
    assert "line 2 is wrong (previous); 1 lines before it are whole" in ended.stderr


def test_a_life_of_two_keys(begun: CeremonyDesk) -> None:
    (first,) = begun.keys()
    assert begun.run("rotate", "--yes", "--validity-days", "30").returncode == 0
    (second,) = begun.keys().keys() - {first}
    assert begun.keys() == {first: "retiring", second: "active"}
    assert begun.run("retire", first, "--archived", "none", "--yes").returncode == 0
    ended = begun.run("revoke", second, "--reason", "演练", "--yes")
    assert f"密钥 {second} 已撤销" in ended.stdout
    assert f"Key {second} is revoked" in ended.stdout
    assert begun.keys() == {first: "retired", second: "revoked"}
    listed = begun.run("list").stdout
    assert "Keyring serial 4" in listed
    assert "演练" in listed


def test_a_key_of_codes_is_retired_with_the_statement_of_the_archive(begun: CeremonyDesk, tmp_path: Path) -> None:
    """Nobody can forget it: without a statement, or with one that does not hold, the key stays."""
    (first,) = begun.keys()
    path = tmp_path / "statement.json"

    def stated(key: str) -> list[str]:
        path.write_bytes(statement_bytes(ArchiveStatement(key, 1, 3, 300, datetime.now(UTC))))
        return ["retire", first, "--archived", str(path), "--yes"]

    refused = begun.run("retire", first, "--yes")
    assert refused.returncode == 1
    assert f"zpcode batches archive --key {first} --statement FILE" in refused.stderr
    assert "is active and may have started batches" in begun.run(*stated(first)).stderr
    assert begun.run("rotate", "--yes").returncode == 0
    assert "is about the key AAAA" in begun.run(*stated("AAAA")).stderr
    path.write_text("{}")
    assert "is not a statement" in begun.run("retire", first, "--archived", str(path), "--yes").stderr
    assert begun.keys()[first] == "retiring"
    assert begun.run(*stated(first)).returncode == 0
    assert begun.keys()[first] == "retired"


def test_the_fingerprint_of_the_root_stays_when_keys_change(begun: CeremonyDesk) -> None:
    before = begun.run("fingerprint").stdout
    assert begun.run("rotate", "--yes").returncode == 0
    assert begun.run("fingerprint").stdout == before == fingerprint((begun.home / "root.pub.pem").read_bytes()) + "\n"
    (begun.home / "root.pub.pem").write_text("nothing")
    assert "root public key is not" in begun.run("fingerprint").stderr


def test_nothing_that_cannot_be_undone_happens_without_a_yes(begun: CeremonyDesk) -> None:
    (first,) = begun.keys()
    for command in (["rotate"], ["retire", first], ["revoke", first, "--reason", "x"]):
        assert begun.run(*command).returncode != 0
    assert begun.keys() == {first: "active"}


def test_a_refusal_is_two_sentences_and_no_traceback(begun: CeremonyDesk) -> None:
    for command in (
        ["create"],
        ["init"],
        ["retire", "NONE", "--yes"],
        ["retire", "NONE", "--archived", "none", "--yes"],
    ):
        ended = begun.run(*command)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 2
        assert ended.stdout == ""


def test_in_an_empty_home_the_command_says_what_to_do(desk: CeremonyDesk) -> None:
    assert "zpkeys create" in desk.run("list").stdout
    ended = desk.run("create")
    assert ended.returncode == 1
    assert "root.key.pem" in ended.stderr


def test_a_passphrase_file_others_can_read_is_refused(begun: CeremonyDesk) -> None:
    begun.word("key", "").chmod(0o640)
    ended = begun.run("rotate", "--yes")
    assert ended.returncode == 1
    assert f"chmod 600 {begun.word('key', '')}" in ended.stderr


def test_a_setting_left_empty_is_not_set() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from keys.settings import load; print(load().key_passphrase_file)"],
        env=os.environ | {"ZPCODE_KEY_PASSPHRASE_FILE": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "None\n"


def test_a_keyring_that_cannot_be_read_is_named(begun: CeremonyDesk) -> None:
    (begun.home / "keyring.json").unlink()
    (begun.home / "keyring.json").mkdir()
    ended = begun.run("rotate", "--yes")
    assert ended.returncode == 1
    assert "keyring.json (not a regular file)" in ended.stderr


def test_an_empty_passphrase_file_is_refused(begun: CeremonyDesk) -> None:
    begun.word("root", "").write_text("\n")
    ended = begun.run("rotate", "--yes")
    assert ended.returncode == 1
    assert "is empty" in ended.stderr


def test_without_a_terminal_or_a_file_the_setting_is_named(begun: CeremonyDesk) -> None:
    ended = begun.run("rotate", "--yes", ZPCODE_KEY_PASSPHRASE_FILE="")
    assert ended.returncode == 1
    assert "ZPCODE_KEY_PASSPHRASE_FILE" in ended.stderr


def test_a_passphrase_typed_at_a_terminal_is_asked_twice_and_never_shown(desk: CeremonyDesk) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZPCODE_")}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(  # noqa: S606 - the child of a terminal of our own
            sys.executable, [sys.executable, "-m", "keys", "init"], environment | {"ZPCODE_HOME": str(desk.home)}
        )
    shown = b""
    for asked in (b"passphrase: ", b"again: "):
        while not shown.endswith(asked):
            shown += os.read(terminal, 1024)
        os.write(terminal, b"typed by a person\n")
    while chunk := _rest(terminal):
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"typed by a person" not in shown
    assert (desk.home / "root.key.pem").exists()


def _rest(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # the other side has closed
        return b""


def test_paths_may_be_given_as_flags(desk: CeremonyDesk, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    root = ["--root-key", str(stick / "r.pem"), "--root-public", str(stick / "r.pub.pem")]
    place = ["--keys-dir", str(tmp_path / "k"), "--keyring", str(tmp_path / "ring.json")]
    assert desk.run("init", *root).returncode == 0
    assert desk.run("create", *root, *place).returncode == 0
    assert len(list((tmp_path / "k").glob("*.key.pem"))) == 1
    assert json.loads((tmp_path / "ring.json").read_text())["serial"] == 1
    assert not desk.home.exists()


def test_a_keyring_from_an_offline_machine_is_published(begun: CeremonyDesk, tmp_path: Path) -> None:
    """The offline machine works on a copy; its keyring comes back as a file."""
    copy = tmp_path / "copy.json"
    copy.write_bytes((begun.home / "keyring.json").read_bytes())
    (first,) = begun.keys()
    offline = ["--keyring", str(copy), "--keys-dir", str(tmp_path / "offline")]
    assert begun.run("retire", first, "--archived", "none", "--yes", *offline).returncode == 0
    assert begun.keys() == {first: "active"}
    assert begun.run("publish", str(copy)).returncode == 0
    assert begun.keys() == {first: "retired"}
    ended = begun.run("publish", str(tmp_path / "key.words"))
    assert ended.returncode == 1
    assert "well-formed" in ended.stderr
