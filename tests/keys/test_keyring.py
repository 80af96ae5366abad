"""The public keyring: what it accepts of a document, and what it says of a seal."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import es256
from keys.ceremony import KeyRoom
from keys.document import Document, KeyRecord, KeyState, signed_bytes_of
from keys.keyring import FINISHING, Keyring, SealVerdict
from tests.support.keyroom import (
    ITEM,
    LOT,
    PRODUCT,
    create,
    key_room,
    retire,
    revoke,
    ring,
    rotate,
    seal,
    signed_by_root,
)
from zpcode.errors import KeyringError, MalformedCode
from zpcode.wire.link import parse
from zpcode.wire.payload import Code, Identity, Seal

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> KeyRoom:
    """A room with one active key; tests of this module do not change it."""
    made = key_room(tmp_path_factory.mktemp("room"))
    create(made, NOW)
    return made


@pytest.fixture
def own_room(tmp_path: Path) -> KeyRoom:
    """A room a test may change."""
    made = key_room(tmp_path)
    create(made, NOW)
    return made


@pytest.fixture(scope="module")
def sealed(room: KeyRoom) -> Code:
    """A sealed item code."""
    return seal(room, only(room).id, ITEM)


def only(room: KeyRoom) -> KeyRecord:
    """The record of the room's first key."""
    return ring(room).content.keys[0]


def with_signature(code: Code, signature: bytes) -> Code:
    """The same code under another signature."""
    assert code.seal is not None
    return Code(code.identity, Seal(code.seal.key_id, signature))


def republished(room: KeyRoom, **changes: object) -> bytes:
    """The room's keyring with its first key changed, rightly signed."""
    content = ring(room).content
    changed = msgspec.structs.replace(content.keys[0], **changes)
    return signed_by_root(room, msgspec.structs.replace(content, serial=content.serial + 1, keys=[changed]))


def refused(room: KeyRoom, document: bytes) -> str:
    """Why the document is refused."""
    with pytest.raises(KeyringError) as caught:
        Keyring.load(document, room.root_public.read_bytes())
    return caught.value.text.en


@pytest.mark.parametrize("identity", [PRODUCT, LOT, ITEM])
def test_a_seal_of_an_active_key_is_valid(room: KeyRoom, identity: Identity) -> None:
    assert ring(room).verify(seal(room, only(room).id, identity)) is SealVerdict.VALID


def test_a_seal_says_nothing_of_another_identity(room: KeyRoom, sealed: Code) -> None:
    assert ring(room).verify(Code(PRODUCT, sealed.seal)) is SealVerdict.INVALID


@pytest.mark.parametrize("state", [KeyState.RETIRING, KeyState.RETIRED])
def test_what_a_key_signed_stays_valid_when_it_signs_no_more(own_room: KeyRoom, state: KeyState) -> None:
    first = only(own_room).id
    code = seal(own_room, first, ITEM)
    rotate(own_room, NOW)
    if state is KeyState.RETIRED:
        retire(own_room, first, NOW)
    key = ring(own_room).get(first)
    assert key is not None
    assert key.state is state
    assert ring(own_room).verify(code) is SealVerdict.VALID


def test_a_revoked_key_turns_its_codes_and_no_forgery(own_room: KeyRoom) -> None:
    first = only(own_room).id
    code = seal(own_room, first, ITEM)
    revoke(own_room, first, NOW)
    assert ring(own_room).verify(code) is SealVerdict.REVOKED
    assert ring(own_room).verify(with_signature(code, bytes(63) + b"\1")) is SealVerdict.INVALID


def test_a_code_without_a_seal_or_under_an_unknown_key_is_invalid(room: KeyRoom, sealed: Code) -> None:
    assert sealed.seal is not None
    unknown = next(key_id for key_id in ("AAAA", "BBBB") if key_id != sealed.seal.key_id)
    assert ring(room).verify(Code(ITEM)) is SealVerdict.INVALID
    assert ring(room).verify(Code(ITEM, Seal(unknown, sealed.seal.signature))) is SealVerdict.INVALID


def test_the_other_signature_of_the_pair_is_refused(room: KeyRoom, sealed: Code) -> None:
    assert sealed.seal is not None
    r, s = sealed.seal.signature[:32], int.from_bytes(sealed.seal.signature[32:], "big")
    assert s <= es256.HALF_N
    high = with_signature(sealed, r + (es256.N - s).to_bytes(32, "big"))
    assert ring(room).verify(high) is SealVerdict.INVALID


@pytest.mark.parametrize("half", [0, 32])
@pytest.mark.parametrize("number", [0, es256.N, es256.N + 1, 2**256 - 1])
def test_r_and_s_outside_the_group_are_refused(room: KeyRoom, sealed: Code, half: int, number: int) -> None:
    assert sealed.seal is not None
    raw = bytearray(sealed.seal.signature)
    raw[half : half + 32] = number.to_bytes(32, "big")
    assert ring(room).verify(with_signature(sealed, bytes(raw))) is SealVerdict.INVALID


@given(st.binary(max_size=80))
def test_no_signature_makes_verify_raise(room: KeyRoom, sealed: Code, signature: bytes) -> None:
    assert ring(room).verify(with_signature(sealed, signature)) is SealVerdict.INVALID


@given(st.text(max_size=30), st.text(max_size=4))
def test_no_identity_makes_verify_raise(room: KeyRoom, sealed: Code, lot: str, key_id: str) -> None:
    assert sealed.seal is not None
    keyring = ring(room)
    assert keyring.verify(Code(Identity("09501101530003", lot=lot), sealed.seal)) is SealVerdict.INVALID
    assert keyring.verify(Code(ITEM, Seal(key_id, sealed.seal.signature))) is SealVerdict.INVALID


@given(st.data())
def test_each_single_character_change_of_a_sealed_code_is_refused(room: KeyRoom, data: st.DataObject) -> None:
    code = seal(room, only(room).id, data.draw(st.sampled_from([PRODUCT, LOT, ITEM])))
    at = data.draw(st.integers(0, len(code.path) - 1))
    other = data.draw(st.characters().filter(lambda character: character.upper() != code.path[at]))
    changed = code.path[:at] + other + code.path[at + 1 :]
    try:
        verdict = ring(room).verify(parse(changed))
    except MalformedCode:
        return
    assert verdict is SealVerdict.INVALID


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a JSON document."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if members is None:
        yield path
        return
    for name, member in members:
        yield from leaves(member, (*path, name))


def test_a_change_of_any_field_is_refused(own_room: KeyRoom) -> None:
    first = only(own_room).id
    rotate(own_room, NOW)
    revoke(own_room, first, NOW)
    document = ring(own_room).document
    paths = list(leaves(json.loads(document)))
    assert len(paths) > 20
    for path in paths:
        tampered: Any = json.loads(document)
        place = tampered
        for step in path[:-1]:
            place = place[step]
        value = place[path[-1]]
        place[path[-1]] = value + 1 if isinstance(value, int) else ("B" if value[0] != "B" else "C") + value[1:]
        refused(own_room, json.dumps(tampered).encode())


def test_a_field_taken_away_or_added_is_refused(room: KeyRoom) -> None:
    whole = json.loads(ring(room).document)
    for tampered in ({**whole, "signature": None}, {**whole, "keys": []}, {**whole, "more": "1"}):
        refused(room, json.dumps(tampered).encode())
    del whole["signature"]
    refused(room, json.dumps(whole).encode())


def test_the_text_of_a_document_may_be_laid_out_differently(room: KeyRoom) -> None:
    compact = json.dumps(json.loads(ring(room).document), sort_keys=True).encode()
    assert Keyring.load(compact, room.root_public.read_bytes()).content == ring(room).content


def test_what_the_root_signs_is_canonical_json() -> None:
    body = {"b": 1, "a": ['é\n\u2028"\\\x01', {"z": -5, "B": "品"}]}
    expected = 'zpcode-keyring/1\n{"a":["é\\n\u2028\\"\\\\\\u0001",{"B":"品","z":-5}],"b":1}'
    assert signed_bytes_of(body) == expected.encode()


@pytest.mark.parametrize("value", [1.5, True, None, 2**53, {"é": "1"}])
def test_values_without_a_certain_canonical_form_are_not_signed(value: object) -> None:
    with pytest.raises(ValueError, match="value"):
        signed_bytes_of({"a": value})


def test_another_root_is_not_trusted(room: KeyRoom, tmp_path: Path) -> None:
    stranger = key_room(tmp_path)
    with pytest.raises(KeyringError, match="pinned root key"):
        Keyring.load(ring(room).document, stranger.root_public.read_bytes())


@pytest.mark.parametrize(
    "document",
    [
        b"", b"\xff", b"[]", b"1", b'"a"', b"null", b"{}", b'{"version":1,"version":1}', b'{"serial":1.0}',
        b'{"serial":NaN}', b'{"a":"\\ud800","signature":{"root":"AAAA","alg":"ES256","value":""}}',
        b"[" * 100_000, b'{"a":' * 50_000, b'{"n":' + b"9" * 5000 + b"}", b" " * (1 << 20) + b"{}",
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_refused_in_words(room: KeyRoom, document: bytes) -> None:
    assert refused(room, document).startswith("the keyring cannot be trusted: ")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_keyring_error(room: KeyRoom, document: bytes) -> None:
    refused(room, document)
    with pytest.raises(KeyringError):
        Keyring.load(ring(room).document, document)


def test_a_key_of_another_suite_is_listed_and_unusable(room: KeyRoom, sealed: Code) -> None:
    """The suite is the record's: a code of that key is not tried with the suite it was made for."""
    document = republished(room, suite="SM2")
    keyring = Keyring.load(document, room.root_public.read_bytes())
    key = keyring.get(only(room).id)
    assert key is not None
    assert not key.may_sign(NOW)
    assert keyring.verify(sealed) is SealVerdict.INVALID


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda jwk: jwk | {"crv": "P-384"}, "P-256 JWK"),
        (lambda jwk: jwk | {"kty": "OKP"}, "P-256 JWK"),
        (lambda jwk: jwk | {"d": jwk["x"]}, "P-256 JWK"),
        (lambda jwk: jwk | {"x": jwk["y"], "y": jwk["x"]}, "P-256 JWK"),
        (lambda jwk: jwk | {"x": jwk["x"] + "="}, "P-256 JWK"),
        (lambda jwk: {"kty": jwk["kty"]}, "P-256 JWK"),
    ],
)
def test_a_public_key_that_is_none_is_refused(
    room: KeyRoom, change: Callable[[dict[str, str]], dict[str, str]], reason: str
) -> None:
    assert reason in refused(room, republished(room, public=change(only(room).public)))


def test_an_id_that_is_not_the_hash_of_its_key_is_refused(room: KeyRoom) -> None:
    other = "AAAA" if only(room).id != "AAAA" else "BBBB"
    assert "does not match its public key" in refused(room, republished(room, id=other))


def test_a_key_that_stands_twice_is_refused(room: KeyRoom) -> None:
    content = ring(room).content
    twice = msgspec.structs.replace(content, keys=[content.keys[0], content.keys[0]])
    assert "twice" in refused(room, signed_by_root(room, twice))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": KeyState.REVOKED},
        {"reason": "none"},
        {"state": KeyState.REVOKED, "revoked_at": NOW},
        {"not_after": NOW - timedelta(days=1)},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(room: KeyRoom, changes: dict[str, object]) -> None:
    refused(room, republished(room, **changes))


def test_an_older_keyring_never_follows_a_newer_one(own_room: KeyRoom) -> None:
    root = own_room.root_public.read_bytes()
    old = ring(own_room)
    revoke(own_room, only(own_room).id, NOW)
    new = ring(own_room)
    assert old.successor(new.document, root).serial == 2
    with pytest.raises(KeyringError, match="older than 2"):
        new.successor(old.document, root)


def test_one_serial_has_one_content(room: KeyRoom) -> None:
    root, current = room.root_public.read_bytes(), ring(room)
    assert current.successor(current.document, root).content == current.content
    other: Document = msgspec.structs.replace(current.content, keys=[])
    with pytest.raises(KeyringError, match="two different contents"):
        current.successor(signed_by_root(room, other), root)


def test_a_key_signs_within_its_dates_and_begins_nothing_it_could_not_finish(room: KeyRoom) -> None:
    (key,) = ring(room)
    end = key.record.not_after
    tick = timedelta(seconds=1)
    assert [key.may_sign(at) for at in (NOW - tick, NOW, end - tick, end)] == [False, True, True, False]
    assert [key.may_start_batch(at) for at in (NOW - tick, NOW, end - FINISHING - tick, end - FINISHING)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_only_the_active_key_begins_and_a_retiring_one_still_signs(own_room: KeyRoom) -> None:
    first = only(own_room).id
    second = rotate(own_room, NOW)
    keyring = ring(own_room)
    beginning, retiring = keyring.key_for_new_batch(NOW), keyring.get(first)
    assert beginning is not None
    assert retiring is not None
    assert beginning.id == second
    assert retiring.may_sign(NOW)
    assert not retiring.may_start_batch(NOW)


def test_reading_a_keyring_needs_neither_numpy_nor_any_private_key() -> None:
    script = "import sys, keys.keyring; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "keys.keyring" in loaded
    assert not {"numpy", "keys.signer", "keys.client", "pydantic"} & set(loaded)
