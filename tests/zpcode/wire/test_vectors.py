"""The vectors under tests/vectors: the files equal the generated ones, and every code has its documented result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keys.keyring import Keyring, SealVerdict
from tests.vectors import generate
from zpcode.errors import MalformedCode
from zpcode.wire.link import REASONS, parse
from zpcode.wire.payload import check_matches

HERE = Path(generate.__file__).parent
KEYS = json.loads((HERE / "keys.json").read_text("ascii"))
VALID: list[dict[str, Any]] = json.loads((HERE / "valid.json").read_text("ascii"))
INVALID: list[dict[str, str]] = json.loads((HERE / "invalid.json").read_text("ascii"))
CHECK_KEY = bytes.fromhex(KEYS["check_key"])


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """The vectors' keyring, verified with its root."""
    return Keyring.load(json.dumps(KEYS["keyring"]).encode(), KEYS["root"].encode())


def _raw(vector: dict[str, Any]) -> bytes:
    return str(vector["path"]).encode("latin-1")


def test_what_is_checked_in_is_what_the_script_writes() -> None:
    """Byte for byte: a change of the format must change these files."""
    assert generate.contents() == {name: (HERE / name).read_text("ascii") for name in generate.contents()}


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    """At least forty valid codes and sixty invalid ones, with every reason."""
    assert len({vector["path"] for vector in VALID}) == len(VALID) >= 40
    assert len({vector["path"] for vector in INVALID}) == len(INVALID) >= 60
    assert set(REASONS) <= {vector["reason"] for vector in INVALID}
    assert {"seal_invalid", "key_revoked", "check"} <= {vector["reason"] for vector in INVALID}


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["note"])
def test_a_valid_code_is_read_as_what_it_is(vector: dict[str, Any], keyring: Keyring) -> None:
    """Its fields, its one canonical text, and its proof."""
    code = parse(_raw(vector))
    identity, serial = code.identity, code.identity.serial
    assert code.path == vector["canonical"]
    assert identity.level == vector["level"]
    assert (identity.gtin, identity.lot, identity.check) == (vector["gtin"], vector["lot"], vector["check"])
    assert (serial and serial.batch, serial and serial.slot) == (vector["batch"], vector["slot"])
    assert (code.seal and code.seal.key_id) == vector["key_id"]
    if vector["proof"] == "sealed":
        assert keyring.verify(code) is SealVerdict.VALID
    else:
        assert code.seal is None
        assert check_matches(CHECK_KEY, identity) is (vector["proof"] == "online")


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: vector["note"][:40])
def test_an_invalid_code_is_refused_for_the_reason_given(vector: dict[str, str], keyring: Keyring) -> None:
    """Unreadable, or readable and not ours."""
    if vector["reason"] in REASONS:
        with pytest.raises(MalformedCode) as refusal:
            parse(_raw(vector))
        assert refusal.value.reason == vector["reason"]
        return
    code = parse(_raw(vector))
    if vector["reason"] == "check":
        assert not check_matches(CHECK_KEY, code.identity)
    else:
        expected = {"seal_invalid": SealVerdict.INVALID, "key_revoked": SealVerdict.REVOKED}
        assert keyring.verify(code) is expected[vector["reason"]]
