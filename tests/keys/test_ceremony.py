"""The ceremonies: what each leaves behind, what each refuses, and that none can undo another."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from keys import ceremony
from keys.ceremony import KeyRoom
from keys.document import KeyState
from keys.keyring import SealVerdict
from keys.signer import FileKey, generated, key_path
from tests.support.keyroom import (
    ITEM,
    PASSPHRASE,
    ROOT_PASSPHRASE,
    YEAR,
    create,
    key_room,
    private,
    retire,
    revoke,
    ring,
    rotate,
    seal,
    signed_by_root,
)
from zpcode.errors import KeyringError

NOW = datetime(2026, 11, 21, 4, 0, 0, 999, tzinfo=UTC)


@pytest.fixture
def room(tmp_path: Path) -> KeyRoom:
    """A room with a root and no key."""
    return key_room(tmp_path)


def states(room: KeyRoom) -> dict[str, KeyState]:
    """The state of each key, as a reader sees it."""
    return {key.id: key.state for key in ring(room)}


def test_the_first_key_is_active_for_as_long_as_asked(room: KeyRoom) -> None:
    key_id = create(room, NOW, timedelta(days=30))
    (key,) = ring(room)
    assert key.id == key_id
    assert key.state is KeyState.ACTIVE
    assert key.record.not_before == NOW.replace(microsecond=0)
    assert key.record.not_after - key.record.not_before == timedelta(days=30)
    assert ring(room).serial == 1


def test_the_root_is_never_replaced(room: KeyRoom) -> None:
    before = room.root_key.read_bytes()
    with pytest.raises(KeyringError, match="not replaced"):
        ceremony.create_root(room, root_passphrase=ROOT_PASSPHRASE)
    room.root_public.unlink()
    with pytest.raises(KeyringError, match="not overwritten"):
        ceremony.create_root(room, root_passphrase=ROOT_PASSPHRASE)
    assert room.root_key.read_bytes() == before


def test_a_second_key_comes_by_rotation_only(room: KeyRoom) -> None:
    create(room, NOW)
    with pytest.raises(KeyringError, match="zpkeys rotate"):
        create(room, NOW)


def test_a_key_goes_from_active_to_retiring_to_retired_to_revoked(room: KeyRoom) -> None:
    first = create(room, NOW)
    code = seal(room, first, ITEM)
    second = rotate(room, NOW)
    assert states(room) == {first: KeyState.RETIRING, second: KeyState.ACTIVE}
    retire(room, first, NOW)
    assert states(room) == {first: KeyState.RETIRED, second: KeyState.ACTIVE}
    assert ring(room).verify(code) is SealVerdict.VALID
    revoke(room, first, NOW)
    assert states(room) == {first: KeyState.REVOKED, second: KeyState.ACTIVE}
    assert ring(room).verify(code) is SealVerdict.REVOKED
    assert ring(room).serial == 4


def test_the_reason_and_the_time_of_a_revocation_are_published(room: KeyRoom) -> None:
    revoke(room, create(room, NOW), NOW)
    (record,) = ring(room).content.keys
    assert (record.reason, record.revoked_at) == ("私钥泄露", NOW.replace(microsecond=0))


def test_a_revocation_is_never_taken_back(room: KeyRoom) -> None:
    first = create(room, NOW)
    revoke(room, first, NOW)
    for again in (retire, revoke):
        with pytest.raises(KeyringError, match="already revoked"):
            again(room, first, NOW)
    second = create(room, NOW)
    rotate(room, NOW)
    assert states(room)[first] is KeyState.REVOKED
    assert states(room)[second] is KeyState.RETIRING


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "a\nb"])
def test_a_revocation_without_a_proper_reason_is_refused(room: KeyRoom, reason: str) -> None:
    first = create(room, NOW)
    with pytest.raises(KeyringError, match="needs a reason"):
        ceremony.revoke(room, first, reason=reason, root_passphrase=ROOT_PASSPHRASE, now=NOW)
    assert states(room) == {first: KeyState.ACTIVE}


def test_an_unknown_key_is_refused_and_the_known_ones_are_named(room: KeyRoom) -> None:
    first = create(room, NOW)
    with pytest.raises(KeyringError, match=f"it has: {first}"):
        retire(room, "NONE", NOW)


@pytest.mark.parametrize("validity", [timedelta(days=1), timedelta(0), timedelta(days=-5), timedelta(days=3661)])
def test_a_validity_out_of_bounds_is_refused(room: KeyRoom, validity: timedelta) -> None:
    with pytest.raises(KeyringError, match="more than 1 day"):
        create(room, NOW, validity)
    assert not room.keyring.exists()


@pytest.mark.parametrize(
    ("passphrase", "root_passphrase", "reason"),
    [
        (b"short", ROOT_PASSPHRASE, "at least 12"),
        (PASSPHRASE, ROOT_PASSPHRASE + b"!", "wrong passphrase"),
        (PASSPHRASE + b"!", ROOT_PASSPHRASE, "wrong passphrase"),
    ],
)
def test_a_wrong_passphrase_changes_nothing(
    room: KeyRoom, passphrase: bytes, root_passphrase: bytes, reason: str
) -> None:
    create(room, NOW)
    before = room.keyring.read_bytes(), sorted(room.keys_dir.iterdir())
    with pytest.raises(KeyringError, match=reason):
        ceremony.rotate(room, passphrase=passphrase, root_passphrase=root_passphrase, now=NOW, validity=YEAR)
    assert (room.keyring.read_bytes(), sorted(room.keys_dir.iterdir())) == before


def test_a_key_whose_id_is_taken_is_drawn_again(room: KeyRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty bits collide about once in a million keys; here the same key is drawn three times."""
    first = create(room, NOW)
    fresh = generated()
    orphan = private(room, first)
    drawn: Iterator[FileKey] = iter([orphan, orphan, fresh])
    monkeypatch.setattr(ceremony, "generated", lambda: next(drawn))
    second = rotate(room, NOW)
    assert second != first
    assert private(room, second).public == fresh.public


def test_a_tampered_keyring_is_not_built_upon(room: KeyRoom) -> None:
    first = create(room, NOW)
    revoke(room, first, NOW)
    room.keyring.write_bytes(room.keyring.read_bytes().replace("泄露".encode(), "遗失".encode()))
    with pytest.raises(KeyringError, match="root signature"):
        create(room, NOW)


def test_an_old_copy_of_the_keyring_is_not_built_upon(room: KeyRoom) -> None:
    """Otherwise the next ceremony would publish it with a new serial and take the revocation back."""
    first = create(room, NOW)
    old = room.keyring.read_bytes()
    revoke(room, first, NOW)
    latest = room.keyring.read_bytes()
    room.keyring.write_bytes(old)
    with pytest.raises(KeyringError, match="has serial 1 although 2"):
        rotate(room, NOW)
    room.keyring.unlink()
    with pytest.raises(KeyringError, match="is missing although serial 2"):
        create(room, NOW)
    room.keyring.write_bytes(latest)
    create(room, NOW)
    assert states(room)[first] is KeyState.REVOKED


def test_a_foreign_root_key_cannot_sign_for_a_pinned_one(room: KeyRoom, tmp_path: Path) -> None:
    create(room, NOW)
    stranger = key_room(tmp_path / "stranger")
    mixed = KeyRoom(room.keys_dir, room.keyring, stranger.root_key, room.root_public)
    before = room.keyring.read_bytes()
    with pytest.raises(KeyringError, match="the pinned root key is"):
        rotate(mixed, NOW)
    assert room.keyring.read_bytes() == before


def test_ceremonies_at_the_same_time_follow_each_other(room: KeyRoom) -> None:
    create(room, NOW)
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(rotate(room, NOW))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert ring(room).serial == 9
    assert set(made) < set(states(room))
    assert [*states(room).values()].count(KeyState.ACTIVE) == 1


def test_a_reader_never_sees_half_a_keyring(room: KeyRoom) -> None:
    create(room, NOW)
    done = threading.Event()
    serials: list[int] = []

    def read() -> None:
        while not done.is_set():
            serials.append(ring(room).serial)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(15):
        rotate(room, NOW)
    done.set()
    reader.join()
    assert serials == sorted(serials)
    assert not [path for path in room.keyring.parent.iterdir() if path.name.endswith(".new")]


def test_breaking_off_before_publication_leaves_the_old_keyring(room: KeyRoom) -> None:
    """The root cannot sign, after the new private key is on disk: the keyring does not speak of that key."""
    create(room, NOW)
    before = room.keyring.read_bytes()
    elsewhere = KeyRoom(room.keys_dir, room.keyring, room.root_key, room.root_public.with_name("gone.pem"))
    with pytest.raises(KeyringError, match=r"gone\.pem"):
        rotate(elsewhere, NOW)
    assert room.keyring.read_bytes() == before
    second = rotate(room, NOW)
    assert states(room)[second] is KeyState.ACTIVE


def test_a_keyring_signed_offline_is_put_in_place(room: KeyRoom) -> None:
    first = create(room, NOW)
    content = ring(room).content
    retired = msgspec.structs.replace(content.keys[0], state=KeyState.RETIRED)
    offline = signed_by_root(room, msgspec.structs.replace(content, serial=5, keys=[retired]))
    before = room.keyring.read_bytes()
    assert ceremony.publish(room, offline).serial == 5
    assert states(room) == {first: KeyState.RETIRED}
    with pytest.raises(KeyringError, match="older than 5"):
        ceremony.publish(room, before)
    with pytest.raises(KeyringError, match="well-formed"):
        ceremony.publish(room, offline[:-20])
    assert ring(room).serial == 5


def test_the_keyring_is_public_and_holds_no_private_half(room: KeyRoom) -> None:
    key_id = create(room, NOW)
    assert room.keyring.stat().st_mode & 0o777 == 0o644
    (record,) = json.loads(room.keyring.read_bytes())["keys"]
    assert set(record["public"]) == {"kty", "crv", "x", "y"}
    assert key_path(room.keys_dir, key_id).exists()
