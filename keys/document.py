r"""The keyring document: its fields, its canonical bytes, and the root signature over them.

    {"version": 1, "serial": 7, "issued": "2026-11-21T02:00:00Z",
     "keys": [{"id": "K7QX", "suite": "ES256", "public": {"kty": "EC", "crv": "P-256", "x": …, "y": …},
               "not_before": …, "not_after": …, "state": "active"}, …],
     "signature": {"root": "RT3A", "alg": "ES256", "value": base64url of raw r‖s}}

The signed bytes are `b"zpcode-keyring/1\n"` and the document without `signature` as canonical JSON (RFC 8785). Values are
strings, integers below 2⁵³, lists, and objects with ASCII names. For these, Python's `json.dumps` with sorted keys and no
blanks gives the same bytes as RFC 8785. The two differ only for fractions and for names outside the BMP.
"""

from __future__ import annotations

import enum
import json
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from keys import es256
from zpcode.errors import KeyringError, Text

PREFIX: Final = b"zpcode-keyring/1\n"
MAX_BYTES: Final = 1 << 20
_SAFE = (1 << 53) - 1  # RFC 8785, section 3.2.2.3: numbers are IEEE doubles

Time = Annotated[datetime, Meta(tz=True)]
KeyId = Annotated[str, Meta(pattern=r"\A[A-Z2-7]{4}\Z")]


class KeyState(enum.StrEnum):
    """What a key may still do. In every state but `revoked`, its signatures stay valid."""

    ACTIVE = "active"  # signs, also for new batches
    RETIRING = "retiring"  # signs only for the batches it has started
    RETIRED = "retired"  # signs nothing
    REVOKED = "revoked"  # signs nothing, and its signatures are not trusted


class KeyPurpose(enum.StrEnum):
    """What a key signs. Each purpose has its own keys and its own message prefix."""

    CODES = "codes"  # zpcode.wire.payload.signed_bytes
    AUDIT_HEAD = "audit-head"  # keys.audit_head.signed_bytes_of_head


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key as published. It may sign from `not_before` to `not_after`; its signatures stay valid after that.

    `purpose` is a KeyPurpose; the published file leaves out "codes". A reader lists a key of another purpose and does not use it.
    """

    id: KeyId
    suite: Annotated[str, Meta(min_length=1, max_length=32)]
    public: dict[str, str]
    not_before: Time
    not_after: Time
    state: KeyState
    revoked_at: Time | None = None
    reason: str | None = None
    purpose: Annotated[str, Meta(min_length=1, max_length=32)] = KeyPurpose.CODES.value


class RootSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root key's signature: `value` is base64url of 64 bytes raw r‖s."""

    root: KeyId
    alg: Literal["ES256"]
    value: str


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A keyring without its signature. `serial` grows by at least one with each publication."""

    version: Literal[1]
    serial: Annotated[int, Meta(ge=1, le=_SAFE)]
    issued: Time
    keys: list[KeyRecord]


def refusal(zh: str, en: str) -> KeyringError:
    """A KeyringError whose text begins with: the keyring cannot be trusted."""
    return KeyringError(Text(f"公钥环不可信：{zh}", f"the keyring cannot be trusted: {en}"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("the same name twice")  # two readers could use different values
    return members


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:20]}")


def _plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(name.isascii() and _plain(member) for name, member in value.items())
    if isinstance(value, list):
        return all(map(_plain, value))
    return isinstance(value, str) or (type(value) is int and abs(value) <= _SAFE)


def signed_bytes_of(body: dict[str, Any]) -> bytes:
    """The bytes that the root key signs, for a document without `signature` in plain JSON types.

    Raises ValueError for a value whose canonical form `json.dumps` does not guarantee.
    """
    if not _plain(body):
        raise ValueError("a value that is neither text nor an integer below 2^53")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return PREFIX + text.encode("utf-8")


def body_of(document: Document) -> dict[str, Any]:
    """A document in plain JSON types, ready to be signed."""
    body: dict[str, Any] = msgspec.to_builtins(document)
    return body


def assembled(body: dict[str, Any], root: str, signature: bytes) -> bytes:
    """The file: body and root signature, indented for people. The signature does not depend on the layout."""
    value = {"root": root, "alg": es256.NAME, "value": es256.b64url(signature)}
    return json.dumps({**body, "signature": value}, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


def _members(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise refusal(f"超过 {MAX_BYTES} 字节", f"it is larger than {MAX_BYTES} bytes")
    try:
        members = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_float=_no_fraction, parse_constant=_no_fraction
        )
    except (ValueError, RecursionError):
        raise refusal("不是合规的 JSON", "it is not well-formed JSON") from None
    if not isinstance(members, dict):
        raise refusal("不是 JSON 对象", "it is not a JSON object")
    return members


def _check_signature(body: dict[str, Any], signature: RootSignature, root: ec.EllipticCurvePublicKey) -> None:
    pinned = es256.key_id(root)
    if signature.root != pinned:
        raise refusal(
            f"由根密钥 {signature.root} 签名，而固定的根密钥是 {pinned}",
            f"root key {signature.root} signed it, but the pinned root key is {pinned}",
        )
    try:
        valid = es256.verify_raw(root, signed_bytes_of(body), es256.unb64url(signature.value, es256.SIGNATURE_BYTES))
    except ValueError:
        valid = False
    if not valid:
        raise refusal("根签名无效", "its root signature is not valid")


def root_key(root: bytes) -> ec.EllipticCurvePublicKey:
    """The root public key in a PEM file. Raises KeyringError if that is not a P-256 key."""
    try:
        return es256.public_from_pem(root)
    except ValueError:
        raise refusal("根公钥不是 P-256 的 PEM", "the root public key is not a P-256 key in PEM") from None


def read_document(raw: bytes, root: bytes) -> Document:
    """The document in a file's bytes, after its signature was verified with the pinned root public key (PEM).

    Raises KeyringError for any other file. No part of the content is used before the signature is verified.
    """
    public = root_key(root)
    body = _members(raw)
    try:
        signature = msgspec.convert(body.pop("signature", None), RootSignature)
    except msgspec.ValidationError:
        raise refusal("没有根签名", "it has no root signature") from None
    _check_signature(body, signature, public)
    try:
        return msgspec.convert(body, Document)
    except msgspec.ValidationError as error:
        raise refusal(f"内容不合规（{error}）", f"its content is not valid ({error})") from None


class ArchiveStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the authority states before a key is retired: all files of this key can be written again without it.

    The authority knows the batches, the ceremony has the keyring, and the two share nothing but a file with this statement.
    `key` has signed `batches` batches with `codes` codes. `keyring_serial` is that of the keyring in which the key was
    retiring, `at` when the authority checked. A retiring key starts no batch, so the statement stays true.
    """

    key: str
    keyring_serial: int
    batches: int
    codes: int
    at: datetime


def statement_bytes(statement: ArchiveStatement) -> bytes:
    """A statement as JSON."""
    return msgspec.json.format(msgspec.json.encode(statement)) + b"\n"


def statement_of(raw: bytes) -> ArchiveStatement:
    """The statement in these bytes. Raises KeyringError if they are none."""
    try:
        return msgspec.json.decode(raw, type=ArchiveStatement)
    except msgspec.MsgspecError as error:
        raise KeyringError(Text("这不是归档声明", "this is not a statement of the archive")) from error
