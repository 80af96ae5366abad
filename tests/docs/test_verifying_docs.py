"""The recipe of docs/verifying.md, run unchanged with the installed openssl."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keys.ceremony import KeyRoom
from keys.keyring import fingerprint
from tests.support import keyroom

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
_PAGE = (Path(__file__).parents[2] / "docs" / "verifying.md").read_text("utf-8")
RECIPE = _PAGE.partition("```bash\n")[2].partition("```")[0]
_HOST, _CODE = "base=https://HOST\n", "code=/SEAL/01/GTIN14/21/SERIAL "


@pytest.fixture
def room(tmp_path: Path) -> KeyRoom:
    """A room with one key; its keyring is where the recipe downloads it."""
    made = keyroom.key_room(tmp_path)
    keyroom.create(made, NOW)
    publish(made)
    return made


def publish(room: KeyRoom) -> None:
    """Put the keyring where the recipe finds it with `file://`, as on a web server."""
    folder = room.keyring.parent / ".well-known"
    folder.mkdir(exist_ok=True)
    (folder / "zpcode-keyring.json").write_bytes(room.keyring.read_bytes())


def code(room: KeyRoom) -> str:
    """An item under the room's key."""
    (key,) = keyroom.ring(room)
    return keyroom.seal(room, key.id, keyroom.ITEM).path


def cooked(room: KeyRoom, path: str) -> subprocess.CompletedProcess[str]:
    """The recipe with its two blanks filled in."""
    assert _HOST in RECIPE
    assert _CODE in RECIPE
    script = RECIPE.replace(_HOST, f"base=file://{room.keyring.parent}\n").replace(_CODE, f"code={path} ")
    return subprocess.run(["bash", "-c", script], cwd=room.keyring.parent, capture_output=True, text=True, check=False)


def test_a_right_code_is_verified_twice_over(room: KeyRoom) -> None:
    run = cooked(room, code(room))
    assert (run.returncode, run.stdout.count("Verified OK")) == (0, 2), run.stderr
    assert " is active" in run.stdout
    assert run.stdout.split()[0] == fingerprint(room.root_public.read_bytes()).replace(" ", "")


def test_an_altered_code_is_not(room: KeyRoom) -> None:
    path = code(room)
    run = cooked(room, path[:-1] + ("0" if path[-1] != "0" else "1"))
    assert (run.returncode, run.stdout.count("Verified OK")) == (1, 1)


def test_an_altered_keyring_is_not(room: KeyRoom) -> None:
    served = room.keyring.parent / ".well-known" / "zpcode-keyring.json"
    served.write_bytes(served.read_bytes().replace(b'"serial": 1', b'"serial": 2'))
    run = cooked(room, code(room))
    assert (run.returncode, run.stdout.count("Verified OK")) == (1, 0)


def test_a_revoked_key_is_reported(room: KeyRoom) -> None:
    path = code(room)
    keyroom.revoke(room, path[1:5], NOW)
    publish(room)
    run = cooked(room, path)
    assert (run.returncode, run.stdout.count("Verified OK")) == (1, 2)
    assert " is revoked" in run.stdout


def test_a_fingerprint_is_the_whole_hash_of_the_public_key(room: KeyRoom) -> None:
    """And openssl computes the same, in another way."""
    pem = room.root_public.read_bytes()
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, capture_output=True, check=True)
    digits = hashlib.sha256(der.stdout).hexdigest()
    groups = fingerprint(pem).split(" ")
    assert "".join(groups) == digits
    assert {len(group) for group in groups} == {8}
