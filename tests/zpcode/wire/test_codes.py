"""Properties of every code: it is read back unchanged, no changed code passes, no input crashes the reader."""

from __future__ import annotations

import string

import pytest
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.keyring import Keyring, SealVerdict
from tests.support.code_factories import codes, compact, gtins, sealable, serials
from tests.vectors import generate
from zpcode.errors import MalformedCode
from zpcode.wire.base32 import serial_number, typed_serial
from zpcode.wire.gs1 import AI_GTIN, AI_LOT, AI_SERIAL, is_gtin14
from zpcode.wire.link import REASONS, parse, path_of
from zpcode.wire.payload import Code, Identity, Level, Serial, check_matches, check_of

BASE = "https://zpm.zjs.cn"


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """The test vectors' keyring."""
    keys = generate.keys()
    return Keyring.load(generate.keyring(), str(keys["root"]).encode())


@given(codes)
def test_a_code_that_is_printed_is_read_as_itself(code: Code) -> None:
    """A code that is built, printed and read has the same fields and text."""
    text = BASE + code.path
    assert path_of(text) == code.path
    assert parse(code.path) == code
    assert parse(code.path.encode("ascii")).path == code.path


@given(codes)
def test_seal_and_serial_are_read_without_regard_to_case(code: Code) -> None:
    """A scanner may change letters to lower case; the canonical text is the same."""
    head, middle, tail = code.path.partition(f"/01/{code.identity.gtin}")
    if code.identity.lot is None:
        tail = tail.lower()
    assert parse(head.lower() + middle + tail) == code


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_input_is_a_code_or_malformed(raw: bytes | str) -> None:
    """No input raises another error than MalformedCode, and its reason is a documented one."""
    assert _outcome(raw) in {"code", *REASONS}


@given(codes, st.data())
@settings(max_examples=300)
def test_a_mangled_code_is_a_code_or_malformed(code: Code, data: st.DataObject) -> None:
    """Codes that are cut, doubled or have insertions: near misses test more than random bytes."""
    raw = bytearray(code.path.encode("ascii"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        cut = data.draw(st.integers(0, 3))
        raw[at : at + cut] = data.draw(st.binary(max_size=3))
    assert _outcome(bytes(raw)) in {"code", *REASONS}


def _outcome(raw: bytes | str) -> str:
    """The result of an input: `code` if it reads back unchanged, or the reason of the refusal."""
    try:
        code = parse(raw)
    except MalformedCode as refusal:
        return refusal.reason
    return "code" if parse(code.path) == code else "another code"


@pytest.mark.parametrize("kind", [Level.PRODUCT, Level.LOT, Level.ITEM])
def test_no_single_change_to_a_sealed_code_passes(kind: Level, keyring: Keyring) -> None:
    """Every other character at every position makes the code malformed or its seal invalid. Case does not count."""
    identity = {
        Level.PRODUCT: Identity(generate.GTINS[0]),
        Level.LOT: Identity(generate.GTINS[0], lot="L2026.11-A"),
        Level.ITEM: Identity(generate.GTINS[0], serial=generate.SERIALS[4]),
    }[kind]
    path = generate.sealed(identity).path
    assert keyring.verify(parse(path)) is SealVerdict.VALID
    for at, was in enumerate(path):
        for character in string.ascii_uppercase + string.digits + "/.-%~:+=_ ":
            if character != was:
                assert _refused(path[:at] + character + path[at + 1 :], keyring), (at, character)


def _refused(path: str, keyring: Keyring) -> bool:
    try:
        return keyring.verify(parse(path)) is not SealVerdict.VALID
    except MalformedCode:
        return True


@given(sealable, st.data())
@settings(max_examples=200)
def test_no_change_of_one_character_to_any_sealed_code_passes(identity: Identity, data: st.DataObject) -> None:
    """The same for any code and any character, inserted and removed ones included."""
    keys = generate.keys()
    ring = Keyring.load(generate.keyring(), str(keys["root"]).encode())
    path = generate.sealed(identity).path
    at = data.draw(st.integers(0, len(path) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda drawn: drawn.upper() != path[at]))
    for changed in (
        path[:at] + character + path[at + 1 :],
        path[:at] + character + path[at:],
        path[:at] + path[at + 1 :],
    ):
        assert _refused(changed, ring), changed


@given(sealable)
def test_an_independent_reader_finds_the_same_identifiers(identity: Identity) -> None:
    """The library biip reads the part after the host. It does not check check digits; this reader does."""
    uri = GS1DigitalLinkURI.parse(BASE + generate.sealed(identity).path)
    identifiers = {string.ai.ai: string.value for string in uri.element_strings}
    expected = {AI_GTIN: identity.gtin}
    if identity.lot is not None:
        expected[AI_LOT] = identity.lot
    if identity.serial is not None:
        expected[AI_SERIAL] = identity.serial.text
    assert identifiers == expected
    assert is_gtin14(identity.gtin)


@given(compact)
def test_a_compact_check_holds_for_its_own_serial_only(identity: Identity) -> None:
    """One in 2⁴⁰ is what guessing gets."""
    assert identity.serial is not None
    key = b"0123456789abcdef"
    right = Identity(identity.gtin, serial=identity.serial, check=check_of(key, identity.gtin, identity.serial))
    assert check_matches(key, right)
    assert check_matches(key, identity) is (identity.check == right.check)
    assert not check_matches(b"another key 16by", right)


@given(serials)
def test_a_typed_serial_is_read_as_crockford_says(serial: Serial) -> None:
    """People type small letters, O for 0, I and L for 1, hyphens and blanks."""
    typed = "-".join(serial.text[at : at + 4] for at in range(0, 12, 4)).lower().replace("0", "o").replace("1", "l")
    assert Serial.parse(typed_serial(typed)) == serial
    assert serial_number(serial.text) == serial.batch << 34 | serial.slot


@given(gtins, st.integers(0, 13), st.integers(1, 9))
def test_every_wrong_digit_of_a_gtin_is_found(gtin: str, at: int, more: int) -> None:
    """A check digit finds each change of one digit (GS1 General Specifications, 7.9)."""
    wrong = gtin[:at] + str((int(gtin[at]) + more) % 10) + gtin[at + 1 :]
    assert is_gtin14(gtin)
    assert not is_gtin14(wrong)
