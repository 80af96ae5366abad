"""A keyring file as a running process follows it: replaced, damaged, rolled back, gone."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from keys.ceremony import KeyRoom
from keys.keyring import KeyringFile, read_root
from tests.support.clock import Clock
from tests.support.keyroom import create, key_room, revoke, ring
from zpcode.errors import KeyringError

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture
def room(tmp_path: Path) -> KeyRoom:
    """A room with one active key."""
    made = key_room(tmp_path)
    create(made, NOW)
    return made


def revoked(room: KeyRoom) -> None:
    """Publish a second keyring, in which the only key is revoked."""
    revoke(room, ring(room).content.keys[0].id, NOW)


@pytest.fixture
def followed(room: KeyRoom, clock: Clock) -> KeyringFile:
    """The room's keyring as a process follows it."""
    return KeyringFile(room.keyring, read_root(room.root_public), clock)


def test_a_new_keyring_is_seen_after_a_quarter_of_a_second(room: KeyRoom, followed: KeyringFile, clock: Clock) -> None:
    revoked(room)
    clock.seconds += 0.2
    assert followed.current().serial == 1
    clock.seconds += 0.1
    assert followed.current().serial == 2
    assert followed.problem is None


def test_an_unchanged_file_is_not_read_again(followed: KeyringFile, clock: Clock) -> None:
    before = followed.current()
    clock.seconds += 10
    assert followed.current() is before


@pytest.mark.parametrize("damage", ["cut", "unsigned", "older", "gone"])
def test_a_bad_replacement_leaves_the_last_good_keyring(room: KeyRoom, clock: Clock, damage: str) -> None:
    old = room.keyring.read_bytes()
    revoked(room)
    good = room.keyring.read_bytes()
    followed = KeyringFile(room.keyring, read_root(room.root_public), clock)
    bad = {"cut": good[:200], "unsigned": good.replace("泄露".encode(), b"none"), "older": old, "gone": b""}[damage]
    room.keyring.write_bytes(bad)
    if damage == "gone":
        room.keyring.unlink()
    clock.seconds += 1
    assert followed.current().serial == 2
    assert followed.problem is not None
    room.keyring.write_bytes(good)
    clock.seconds += 1
    assert followed.current().serial == 2
    assert followed.problem is None


def test_a_process_does_not_begin_without_a_good_keyring(room: KeyRoom, clock: Clock) -> None:
    root = read_root(room.root_public)
    room.keyring.write_bytes(b"{}")
    with pytest.raises(KeyringError):
        KeyringFile(room.keyring, root, clock)
    room.keyring.unlink()
    with pytest.raises(KeyringError, match=r"keyring\.json"):
        KeyringFile(room.keyring, root, clock)
    room.root_public.unlink()
    with pytest.raises(KeyringError, match=r"root\.pub\.pem"):
        read_root(room.root_public)
