"""Changed, forged and guessed codes, by a stranger who owns one genuine product of each kind."""

from __future__ import annotations

import string
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

from tests.attack.target import Attempt, Attempts, Target, status_of
from zpcode.wire.base32 import CROCKFORD, RFC4648
from zpcode.wire.link import parse
from zpcode.wire.payload import SEAL_LENGTH, Code, Identity, Seal

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256 (NIST SP 800-186): where r‖s is a valid signature, plain ECDSA also accepts r‖n-s."""
_GOOD = b'"verdict":"verified"'
_GUESSES = 200


def changed_codes(target: Target) -> Attempts:
    """No text but the printed one is a verified code; seal and serial may be in lower case (docs/code-format.md)."""
    for path in (target.product, target.item, target.compact):
        if _verdict(target, path) != "verified":
            yield Attempt(f"genuine {path[-16:]}", "the genuine code is not verified, so the attack shows nothing")
        for name, changed in _changes(path):
            answer = _answer(target, changed)
            breach = "verified" if status_of(answer) == 200 and _GOOD in answer else ""
            yield Attempt(f"{name} of {path[-16:]}", breach)


def guessed_codes(target: Target) -> Attempts:
    """Nobody guesses a code: not its serial below a genuine seal, not the check of a compact code."""
    random = Random(1)
    item, compact = target.item, target.compact
    for number in range(_GUESSES):
        serial = "".join(random.choices(CROCKFORD, k=8))
        yield _guess(target, f"serial {number}", item[:-8] + serial)
        yield _guess(target, f"check {number}", compact[:-8] + serial)


def _guess(target: Target, name: str, path: str) -> Attempt:
    answer = _answer(target, path)
    return Attempt(name, f"{path} is verified" if _GOOD in answer else "")


def _changes(path: str) -> Iterator[tuple[str, str]]:
    code = parse(path)
    if code.seal is not None:
        yield from _other_seals(code, code.seal)
    yield from _other_spellings(path)
    for at in range(path.index("/01/") + 4, len(path)):
        if path[at] != "/":
            yield f"character {at}", path[:at] + _another(path[at]) + path[at + 1 :]


def _other_seals(code: Code, seal: Seal) -> Iterator[tuple[str, str]]:
    """Seals that a reader with a lax parser or a plain ECDSA verifier accepts."""
    rest, text = code.identity.path, seal.text
    r, s = seal.signature[:32], int.from_bytes(seal.signature[32:], "big")
    zero = bytes(32)
    for name, signature in (
        ("high s", r + (N - s).to_bytes(32, "big")),
        ("r and s exchanged", seal.signature[32:] + r),
        ("r = 0, s = 0", zero + zero),
        ("r = n, s = n", N.to_bytes(32, "big") * 2),
        ("r = 1, s = 1", (zero[:31] + b"\1") * 2),
        ("s = 0", r + zero),
    ):
        yield name, f"/{Seal(seal.key_id, signature).text}{rest}"
    for spare in "BCH":
        last = RFC4648[RFC4648.index(text[-1]) | RFC4648.index(spare)]
        if last != text[-1]:
            yield f"spare bits {spare}", f"/{text[:-1]}{last}{rest}"
    yield "no seal", rest
    yield "seal cut", f"/{text[:-1]}{rest}"
    yield "seal longer", f"/{text}A{rest}"
    yield "padded seal", f"/{text}={rest}"
    yield "seal twice", f"/{text}/{text}{rest}"
    for at in range(0, SEAL_LENGTH, 5):
        yield f"character {at} of the seal", f"/{text[:at]}{_another(text[at])}{text[at + 1 :]}{rest}"
    product = Identity(code.identity.gtin)
    if code.identity != product:
        yield "seal of an item on the product", f"/{text}{product.path}"
    yield "another AI", f"/{text}{rest.replace('/21/', '/10/')}" if "/21/" in rest else f"/{text}{rest}/21/000000000001"


def _other_spellings(path: str) -> Iterator[tuple[str, str]]:
    """The same characters written otherwise."""
    yield "percent-encoded", quote(path[:-1]) + f"%{ord(path[-1]):02X}"
    yield "encoded slash", path.replace("/01/", "%2F01%2F")
    yield "double slash", path.replace("/01/", "//01/")
    yield "dot segment", path.replace("/01/", "/./01/")
    yield "parent segment", path.replace("/01/", "/x/../01/")
    yield "parameter", path + ";a=b"
    yield "null byte", path + "%00"
    yield "line feed", path + "%0A"
    yield "AI twice", path + path[path.index("/01/") :]
    yield "another AI before", path.replace("/01/", "/8003/01/")
    yield "full width", path[:-1] + quote(chr(ord(path[-1]) + 0xFEE0))
    yield "GTIN-13", path.replace("/01/0", "/01/")
    yield "GTIN with a zero", path.replace("/01/", "/01/0")


def _another(character: str) -> str:
    """Another character of the same kind."""
    if character in string.digits:
        return string.digits[(int(character) + 1) % 10]
    return "A" if character != "A" else "C"


def _answer(target: Target, path: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nUser-Agent: Mozilla/5.0\r\nConnection: close"
    return target.raw("scan", f"{head}\r\n\r\n".encode("ascii"))


def _verdict(target: Target, path: str) -> str:
    return str(target.scan(path).get("verdict"))
