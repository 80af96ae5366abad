"""Writes the test vectors beside it: `python -m tests.vectors.generate`. The same bytes every time.

`keys.json` has a keyring, its root and a batch's secrets; `valid.json` and `invalid.json` have codes as raw
paths (ISO 8859-1, so that any byte can be written) with what they mean or why they are refused. The keys
are derived from constants and worth nothing.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys import es256
from keys.document import Document, KeyRecord, KeyState, assembled, body_of, signed_bytes_of
from keys.signer import FileKey
from zpcode.wire.base32 import RFC4648, seal_text
from zpcode.wire.payload import (
    MAX_BATCH,
    Code,
    Identity,
    Level,
    Seal,
    Serial,
    check_of,
    signed_bytes,
)
from zpcode.wire.permutation import SLOTS

HERE = Path(__file__).parent
CHECK_KEY = hashlib.sha256(b"zpcode test vectors: check").digest()[:16]
GTINS = ("09501101530003", "09501101530010", "00000095011011", "19501101530000", "99501101530006")
LOTS = ("A", "0", "L2026.11-21", "ABCDEFGHIJ0123456789", "-", "1.", "Z-Z", ".A")
SERIALS = (
    Serial(1, 0),
    Serial(1, SLOTS - 1),
    Serial(MAX_BATCH, 0),
    Serial(MAX_BATCH, SLOTS - 1),
    Serial(42, 1234567890),
    Serial(65536, 1 << 33),
)


def _key(name: str) -> FileKey:
    """A key pair out of a name."""
    scalar = int.from_bytes(hashlib.sha256(f"zpcode test vectors: {name}".encode()).digest(), "big")
    return FileKey(ec.derive_private_key(scalar % (es256.N - 1) + 1, ec.SECP256R1()))


ROOT = _key("root")
KEYS = {name: _key(name) for name in ("active", "retired", "revoked", "foreign")}
IDS = {name: es256.key_id(key.public) for name, key in KEYS.items()}


def sealed(identity: Identity, key: str = "active") -> Code:
    """A code with its seal."""
    return Code(identity, Seal(IDS[key], KEYS[key].sign_raw(signed_bytes(IDS[key], identity.path))))


def keyring() -> bytes:
    """The keyring document with its root signature."""
    states = {"active": KeyState.ACTIVE, "retired": KeyState.RETIRED, "revoked": KeyState.REVOKED}
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    records = [
        KeyRecord(
            id=IDS[name],
            suite=es256.NAME,
            public=es256.jwk_of(KEYS[name].public),
            not_before=begin,
            not_after=end,
            state=state,
            revoked_at=begin if state is KeyState.REVOKED else None,
            reason="a test" if state is KeyState.REVOKED else None,
        )
        for name, state in states.items()
    ]
    body = body_of(Document(version=1, serial=1, issued=begin, keys=records))
    return assembled(body, es256.key_id(ROOT.public), ROOT.sign_raw(signed_bytes_of(body)))


def keys() -> dict[str, Any]:
    """What a reader needs beside the codes."""
    pem = ROOT.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"root": pem.decode("ascii"), "keyring": json.loads(keyring()), "check_key": CHECK_KEY.hex()}


def valid() -> list[dict[str, Any]]:
    """Codes that are read, each with what is in it."""
    identities = [Identity(gtin) for gtin in GTINS]
    identities += [Identity(GTINS[0], lot=lot) for lot in LOTS]
    identities += [Identity(GTINS[1], serial=serial) for serial in SERIALS]
    entries = [_entry(sealed(identity), "a sealed code") for identity in identities]
    entries += [_entry(sealed(identity, "retired"), "under a retired key") for identity in identities[::4]]
    entries += [_entry(Code(identity), "no seal: it cannot be verified offline") for identity in identities[::3]]
    for serial in SERIALS:
        compact = Identity(GTINS[2], serial=serial, check=check_of(CHECK_KEY, GTINS[2], serial))
        entries.append(_entry(Code(compact), "a compact code"))
    item = sealed(_ITEM)
    compact_path = entries[-1]["path"]
    head, _, tail = item.path[1:].partition("/")
    entries += [
        _entry(item, "seal in lower case", f"/{head.lower()}/{tail}"),
        _entry(item, "serial in lower case", item.path[:-12] + item.path[-12:].lower()),
        _entry(
            item, "seal and serial in mixed case", f"/{head[:50].lower()}{head[50:]}/{tail[:-6]}{tail[-6:].lower()}"
        ),
        {
            **entries[-1],
            "note": "compact serial in lower case",
            "path": compact_path[:-20] + compact_path[-20:].lower(),
        },
    ]
    return entries


def _entry(code: Code, note: str, path: str = "") -> dict[str, Any]:
    identity = code.identity
    serial = identity.serial
    proof = {Level.COMPACT: "online"}.get(identity.level, "missing" if code.seal is None else "sealed")
    return {
        "note": note,
        "path": path or code.path,
        "canonical": code.path,
        "level": identity.level.value,
        "proof": proof,
        "key_id": code.seal.key_id if code.seal else None,
        "gtin": identity.gtin,
        "lot": identity.lot,
        "batch": serial.batch if serial else None,
        "slot": serial.slot if serial else None,
        "check": identity.check,
    }


def invalid() -> list[dict[str, str]]:
    """Codes that are refused, each with the reason: a word of `link.REASONS`, or what proves it wrong."""
    vectors = [*_misshapen(), *_broken_seals(), *_broken_fields(), *_untrue()]
    return [{"note": note, "path": path, "reason": reason} for reason, note, path in vectors]


_ITEM = Identity(GTINS[0], serial=SERIALS[4])
_PATH = sealed(_ITEM).path
_HEAD, _TAIL = _PATH[1:108], _PATH[108:]


def _misshapen() -> list[tuple[str, str, str]]:
    return [
        ("structure", "nothing", ""),
        ("structure", "the root", "/"),
        ("structure", "no leading slash", _PATH[1:]),
        ("structure", "two leading slashes", "/" + _PATH),
        ("structure", "a closing slash", _PATH + "/"),
        ("structure", "a lot with nothing behind it", f"/01/{GTINS[0]}/10"),
        ("structure", "lot and serial both", f"/01/{GTINS[0]}/10/A/21/{SERIALS[0].text}"),
        ("structure", "an unknown qualifier", f"/01/{GTINS[0]}/22/A"),
        ("structure", "a name for the identifier, as GS1 once allowed", f"/gtin/{GTINS[0]}"),
        ("structure", "another primary key", "/00/095011015300030003"),
        ("structure", "two stems", f"/A/{_HEAD}{_TAIL}"),
        ("structure", "no identifier behind the seal", f"/{_HEAD}"),
        ("structure", "a word behind the seal", f"/{_HEAD}/products"),
        ("structure", "some other page", "/about/us"),
        ("encoding", "a line break", _PATH + "\n"),
        ("encoding", "a zero byte", _PATH[:-1] + "\0"),
        ("encoding", "a byte that is not ASCII", _PATH[:-1] + "\xe9"),
        ("encoding", "full-width digits in UTF-8", "/01/" + "０".encode().decode("latin-1") + GTINS[0][1:]),
        ("encoding", "a tab in the GTIN", f"/01/{GTINS[0][:7]}\t{GTINS[0][8:]}"),
        ("encoding", "a delete character", _PATH + "\x7f"),
        ("length", "257 bytes", "/01/" + "0" * 253),
        ("length", "thousands of bytes", "/" + "A" * 5000),
        ("length", "thousands of slashes", "/" * 3000),
    ]


def _broken_seals() -> list[tuple[str, str, str]]:
    last = RFC4648[RFC4648.index(_HEAD[-1]) ^ 1]
    compact = Identity(GTINS[2], serial=SERIALS[0], check=check_of(CHECK_KEY, GTINS[2], SERIALS[0]))
    return [
        ("seal", "an empty seal", f"/{_TAIL}"),
        ("seal", "one character short", f"/{_HEAD[:-1]}{_TAIL}"),
        ("seal", "one character long", f"/{_HEAD}A{_TAIL}"),
        ("seal", "padded as Base32 often is", f"/{_HEAD[:-1]}={_TAIL}"),
        ("seal", "the digit 1, which the alphabet has not", f"/{_HEAD[:9]}1{_HEAD[10:]}{_TAIL}"),
        ("seal", "the digit 8", f"/{_HEAD[:9]}8{_HEAD[10:]}{_TAIL}"),
        ("seal", "the digit 0 in the key id", f"/0{_HEAD[1:]}{_TAIL}"),
        ("seal", "spare bits that are not zero", f"/{_HEAD[:-1]}{last}{_TAIL}"),
        ("seal", "a percent sign", f"/{_HEAD[:50]}%41{_HEAD[53:]}{_TAIL}"),
        ("seal", "a blank", f"/{_HEAD[:50]} {_HEAD[51:]}{_TAIL}"),
        ("seal", "a plus sign", f"/{_HEAD[:50]}+{_HEAD[51:]}{_TAIL}"),
        ("seal-on-compact", "a seal before a compact code", f"/{_HEAD}{compact.path}"),
    ]


def _broken_fields() -> list[tuple[str, str, str]]:
    gtin, serial = GTINS[0], SERIALS[4].text
    lots = ("", "a", "ABCDEFGHIJ01234567890", "A_B", "A B", "A%2FB", ".", "..", "A+B", "A:B")
    gtins = {
        "a wrong check digit": gtin[:-1] + "4",
        "13 digits": gtin[1:],
        "15 digits": "0" + gtin,
        "a letter": gtin[:5] + "A" + gtin[6:],
        "nothing": "",
        "two digits exchanged": gtin[:1] + gtin[2] + gtin[1] + gtin[3:],
        "a blank before it": " " + gtin[1:],
        "a sign before it": "+" + gtin[1:],
    }
    serials = {
        "nothing": "",
        "11 characters": serial[:-1],
        "13 characters": serial + "0",
        "19 characters": serial + "0" * 7,
        "21 characters": serial + "0" * 9,
        "the letter I": "I" + serial[1:],
        "the letter L": serial[:-1] + "L",
        "the letter O": serial[:4] + "O" + serial[5:],
        "the letter U": serial[:4] + "U" + serial[5:],
        "a hyphen": serial[:4] + "-" + serial[5:],
        "batch number nought": "0" * 12,
        "a letter U in the check": serial + "0000000U",
    }
    vectors = [("lot", f"the lot {lot!r}", f"/01/{gtin}/10/{lot}") for lot in lots]
    vectors += [("gtin", f"GTIN: {note}", f"/01/{text}") for note, text in gtins.items()]
    vectors += [("gtin", f"GTIN behind a seal: {note}", f"/{_HEAD}/01/{text}") for note, text in gtins.items()]
    return [*vectors, *(("serial", f"serial: {note}", f"/01/{gtin}/21/{text}") for note, text in serials.items())]


def _untrue() -> list[tuple[str, str, str]]:
    """Well-formed, and yet not ours."""
    signature = KEYS["active"].sign_raw(signed_bytes(IDS["active"], _ITEM.path))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")

    def forged(raw: bytes, key_id: str = IDS["active"], identity: Identity = _ITEM) -> str:
        return Code(identity, Seal(key_id, raw)).path

    def numbers(first: int, second: int) -> bytes:
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")

    compact = Identity(GTINS[2], serial=SERIALS[0], check=check_of(CHECK_KEY, GTINS[2], SERIALS[0]) ^ 1)
    other = Identity(GTINS[0], serial=Serial(42, 1234567891))
    return [
        ("seal_invalid", "the other signature (r, n - s): high s", forged(numbers(r, es256.N - s))),
        ("seal_invalid", "r and s exchanged", forged(numbers(s, r))),
        ("seal_invalid", "all zeros", forged(bytes(64))),
        ("seal_invalid", "all ones", f"/{IDS['active']}{seal_text(bytes([255]) * 64)}{_ITEM.path}"),
        ("seal_invalid", "r + n instead of r", forged(numbers((r + es256.N) % (1 << 256), s))),
        ("seal_invalid", "s nought", forged(numbers(r, 0))),
        ("seal_invalid", "r nought", forged(numbers(0, s))),
        ("seal_invalid", "one bit of the signature", forged(numbers(r ^ 1, s))),
        ("seal_invalid", "the seal of the next item", forged(signature, identity=other)),
        ("seal_invalid", "the seal of an item on its product", forged(signature, identity=Identity(GTINS[0]))),
        (
            "seal_invalid",
            "the seal of an item on another GTIN",
            forged(signature, identity=Identity(GTINS[1], serial=SERIALS[4])),
        ),
        ("seal_invalid", "the seal of an item on a lot", forged(signature, identity=Identity(GTINS[0], lot="A"))),
        ("seal_invalid", "another key's id before the signature", forged(signature, IDS["retired"])),
        ("seal_invalid", "a key nobody knows", sealed(_ITEM, "foreign").path),
        (
            "seal_invalid",
            "a foreign key under our key's id",
            forged(KEYS["foreign"].sign_raw(signed_bytes(IDS["active"], _ITEM.path))),
        ),
        (
            "seal_invalid",
            "signed without the key id",
            forged(KEYS["active"].sign_raw(b"zpcode/1\n" + _ITEM.path.encode())),
        ),
        ("seal_invalid", "signed without the domain", forged(KEYS["active"].sign_raw(_ITEM.path.encode()))),
        ("key_revoked", "under a revoked key: item", sealed(_ITEM, "revoked").path),
        ("key_revoked", "under a revoked key: product", sealed(Identity(GTINS[0]), "revoked").path),
        ("check", "one bit of a compact check", Code(compact).path),
        ("check", "the check of another serial", f"/01/{GTINS[2]}/21/{SERIALS[1].text}{Code(compact).path[-8:]}"),
    ]


def contents() -> dict[str, str]:
    """Every file with its text."""
    files = {"keys.json": keys(), "valid.json": valid(), "invalid.json": invalid()}
    return {name: json.dumps(value, indent=1, ensure_ascii=True) + "\n" for name, value in files.items()}


def main() -> None:
    """Write the files."""
    for name, text in contents().items():
        (HERE / name).write_text(text, "ascii")


if __name__ == "__main__":
    main()
