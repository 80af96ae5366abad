"""Complaints: anybody sends them, regulators handle them, and the holder of the follow key can follow them.

Each function is one transaction. Description, place of purchase and replies are kept. Contact and photos are deleted 180
days after the end of the complaint. The audit log has each step with its caller and the SHA-256 of the texts, but no
text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keys.keyring import Keyring, SealVerdict
from zpcode.errors import KeyringError, MalformedCode, NotFound, Text
from zpcode.language.normalization import normalized_if_safe
from zpcode.rules.access import Caller
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import digests, reference
from zpcode.rules.complaints.complaint import (
    Complaint,
    ComplaintEvent,
    ComplaintForm,
    ComplaintProof,
    ComplaintState,
    ComplaintStep,
    StepRequest,
)
from zpcode.rules.paging import page_size
from zpcode.rules.record_digest import RECORDS
from zpcode.rules.regions import PROVINCE
from zpcode.rules.status.permissions import authority_of
from zpcode.store import audit, batches, complaints
from zpcode.store.complaints import ComplaintIdentity, ComplaintProduct
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.calendar import today
from zpcode.wire.gs1 import AI_GTIN, gtin14
from zpcode.wire.link import path_of
from zpcode.wire.link import read as read_code
from zpcode.wire.payload import Code, Identity
from zpcode.wire.vocabulary import Bilingual

LIKENESS_KEPT: Final = timedelta(days=1)
_SYSTEM: Final = Bilingual("浙品码平台", "the service of 浙品码")
_WORKER: Final = "system:*:worker"


@dataclass(frozen=True, slots=True)
class ComplaintSubject:
    """The code of a complaint: its `level` if it is readable, the registered product, and the result of the seal check.

    The product is only what the code *claims*: a copied or forged code also names one. `path` is the canonical path of a
    readable code, from `/01/` on, without the seal. `genuine`: it is the code of one item that was issued; a copy of it is
    too. No page says so.
    """

    code: str = ""
    proof: ComplaintProof = ComplaintProof.NONE
    level: str = ""
    product: ComplaintProduct | None = None
    path: str = ""
    genuine: bool = False


@dataclass(frozen=True, slots=True)
class SentComplaint:
    """A form as it was sent: its content, the nonce of its ticket (16 bytes), and the SHA-256 of each of its files."""

    form: ComplaintForm
    ticket: bytes
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ComplaintReceipt:
    """The reply to a form. `key` is empty if the same complaint was recorded before with another ticket.

    `other` is True if the ticket was used before for a different complaint; then nothing was recorded.
    """

    number: str
    at: datetime
    repeated: bool
    key: str = field(default="", repr=False)
    other: bool = False


def secret(engine: Engine) -> bytes:
    """The secret that tickets and follow keys are derived from. Raises Unavailable."""
    with transaction(engine) as connection:
        return complaints.secret(connection)


def about(engine: Engine, keyring: Callable[[], Keyring], text: str) -> ComplaintSubject:
    """The subject of a scanned path, a pasted link or a typed GTIN. Raises Unavailable.

    Of its fields only `genuine` depends on which items exist. It must not be shown: it would reveal that to anybody who asks.
    """
    text = text.strip()[: rules.MAX_CODE]
    if not text:
        return ComplaintSubject()
    gtin = gtin14("".join(normalized_if_safe("NFKC", text).split()))
    if gtin is not None:
        return ComplaintSubject(text, ComplaintProof.UNSEALED, "product", _product(engine, gtin), f"/{AI_GTIN}/{gtin}")
    try:
        code, path = read_code(path_of(text))
    except MalformedCode:
        return ComplaintSubject(text, ComplaintProof.UNREADABLE)
    proof, valid = _verified(keyring, code)
    genuine = (valid or code.identity.check is not None) and _is_issued(engine, code.identity)
    product = _product(engine, code.identity.gtin)
    return ComplaintSubject(code.path, proof, str(code.identity.level), product, path, genuine)


def _verified(keyring: Callable[[], Keyring], code: Code) -> tuple[ComplaintProof, bool]:
    """What the seal of a code proves, and whether it is valid under a key that is not revoked."""
    if code.seal is None:
        return ComplaintProof.UNSEALED, False
    try:
        verdict = keyring().verify(code)
    except KeyringError:
        return ComplaintProof.UNCHECKED, False
    proof = ComplaintProof.FORGED if verdict is SealVerdict.INVALID else ComplaintProof.SEALED
    return proof, verdict is SealVerdict.VALID


def _is_issued(engine: Engine, item: Identity) -> bool:
    """Whether a batch with item codes has this item; a check that it has is right."""
    if item.serial is None:
        return False
    with transaction(engine) as connection:
        batch = batches.get(connection, item.serial.batch)
    return batch is not None and batch.level is item.level and batch.index_of(item) is not None


def _product(engine: Engine, gtin: str) -> ComplaintProduct | None:
    with transaction(engine) as connection:
        return complaints.registered_product(connection, gtin)


def received_before(engine: Engine, sent: SentComplaint, *, now: datetime) -> ComplaintReceipt | None:
    """The receipt of a form that was received before, or None. Raises Unavailable.

    A complaint with the same ticket, or within an hour with the same content, is the same complaint: the receipt has its
    number, and for the same ticket also its follow key.
    """
    with transaction(engine) as connection:
        key_of = complaints.secret(connection)
        return _earlier(connection, sent, _identity(key_of, sent), key_of, now)


def _earlier(
    connection: Connection, sent: SentComplaint, identity: ComplaintIdentity, key_of: bytes, now: datetime
) -> ComplaintReceipt | None:
    earlier = complaints.earlier(connection, identity, now - rules.SAME_WITHIN)
    if earlier is None:
        return None
    key = reference.follow_key(key_of, sent.ticket) if earlier.ticket else ""
    return ComplaintReceipt(earlier.number, earlier.at, repeated=True, key=key, other=not earlier.alike)


def receive(
    engine: Engine,
    sent: SentComplaint,
    named: ComplaintSubject,
    photos: Sequence[bytes],
    *,
    now: datetime,
    over_budget: bool = False,
    randomness: Callable[[int], int] = secrets.randbits,
) -> ComplaintReceipt:
    """Record a complaint with up to three photos (JPEGs of this service), or return the receipt of `received_before`.

    `over_budget` marks a complaint that came when there were too many. Raises Unavailable.
    """
    form = sent.form
    with transaction(engine) as connection:
        key_of = complaints.secret(connection)
        identity = _identity(key_of, sent)
        complaints.lock(connection, identity.ticket)
        complaints.lock(connection, identity.likeness)
        earlier = _earlier(connection, sent, identity, key_of, now)
        if earlier is not None:
            return earlier
        product = named.product
        new = Complaint(
            id=0,
            number=_number(connection, now, randomness),
            received_at=now,
            form=form,
            proof=named.proof,
            gtin=None if product is None else product.gtin,
            uscc=None if product is None else product.uscc,
            region=PROVINCE if product is None else product.region,
            state=ComplaintState.RECEIVED,
            over_budget=over_budget,
        )
        salt = randomness(8 * digests.SALT_BYTES).to_bytes(digests.SALT_BYTES)
        added = complaints.add(connection, new, identity, photos, salt)
        complaints.add_event(connection, added.id, ComplaintEvent(ComplaintStep.RECEIVE, now, _SYSTEM), rules.PUBLIC)
        detail = rules.logged(added) | {RECORDS: _records(added, identity, photos, salt)}
        _audit(connection, added, ComplaintStep.RECEIVE, rules.PUBLIC, now, detail)
        return ComplaintReceipt(added.number, now, repeated=False, key=reference.follow_key(key_of, sent.ticket))


def _records(new: Complaint, identity: ComplaintIdentity, photos: Sequence[bytes], salt: bytes) -> dict[str, str]:
    """The digests of a new complaint, its contact and its photos for the audit log, by name."""
    number, contact = new.number, new.form.contact
    records = {f"{digests.COMPLAINT}:{number}": digests.complaint_digest(new, identity.follow_hash, identity.ticket)}
    if contact:
        records[f"{digests.CONTACT}:{number}"] = digests.contact_digest(number, contact, salt)
    if photos:
        hashes = [hashlib.sha256(photo).hexdigest() for photo in photos]
        records[f"{digests.PHOTOS}:{number}"] = digests.photos_digest(number, hashes)
    return records


def _identity(key_of: bytes, sent: SentComplaint) -> ComplaintIdentity:
    """What identifies a form. Its files count as they were sent, so that it is recognised before they are decoded."""
    form = sent.form
    words = (form.kind, form.description, form.place, form.contact, form.code)
    follow = reference.key_hash(reference.follow_key(key_of, sent.ticket))
    likeness = reference.likeness(key_of, *(word.encode() for word in words), *sent.files)
    return ComplaintIdentity(follow, sent.ticket, likeness)


def _number(connection: Connection, now: datetime, randomness: Callable[[int], int]) -> str:
    """An unused number; tries again while the check character is not allowed or the number is used."""
    while True:
        number = reference.number(today(now), randomness(5 * reference.RANDOM_CHARACTERS))
        if number is not None and not complaints.is_used(connection, number):
            return number


def follow(engine: Engine, number: str, key: str) -> Complaint:
    """The complaint with this number and follow key, without contact and photos. Raises NotFound, Unavailable.

    An unknown number and a wrong key raise the same error after the same time.
    """
    with transaction(engine) as connection:
        expected = complaints.follow_hash(connection, number) or bytes(32)
        matches = hmac.compare_digest(reference.key_hash(reference.read_key(key)), expected)
        complaint = complaints.get(connection, number) if matches else None
    if complaint is None:
        raise _unknown()
    return replace(complaint, form=replace(complaint.form, contact=""), photos=0)


def listing(
    engine: Engine, caller: Caller, *, state: ComplaintState | None = None, before: int | None = None, limit: int = 50
) -> list[Complaint]:
    """Up to `limit` (1 … 200) complaints within the caller's reach, newest first; with `before`, only those with smaller ids."""
    with transaction(engine) as connection:
        listed = complaints.listing(connection, caller, state, before, page_size(limit))
    return listed if rules.reads_contact(caller) else [replace(one, photos=0) for one in listed]


def read(engine: Engine, number: str, caller: Caller) -> Complaint:
    """One complaint with its steps; contact and photos only for regulators and the operator. Raises NotFound, Unavailable."""
    with transaction(engine) as connection:
        complaint = _reached(connection, number, caller)
    if rules.reads_contact(caller):
        return complaint
    return replace(complaint, form=replace(complaint.form, contact=""), photos=0)


def photo(engine: Engine, number: str, position: int, caller: Caller) -> bytes:
    """One photo (1 … 3) as JPEG. Raises Forbidden for enterprises, NotFound, Unavailable."""
    rules.permit(caller)
    with transaction(engine) as connection:
        picture = complaints.photo(connection, _reached(connection, number, caller).id, position)
    if picture is None:
        raise NotFound(Text("没有这张照片", "there is no such photo"))
    return picture


def take(engine: Engine, number: str, request: StepRequest, *, caller: Caller, now: datetime) -> Complaint:
    """Record the next step of a complaint and return the changed complaint.

    Raises Forbidden for enterprises, Refused with every finding, NotFound, Conflict (not allowed in the present state),
    Unavailable.
    """
    rules.permit(caller)
    request = rules.check(request, caller)
    with transaction(engine) as connection:
        complaint = _reached(connection, number, caller, lock=True)
        state = rules.after(complaint.state, request.step)
        now = max([now, *(event.at for event in complaint.events)])  # the clock of another process may be ahead
        event = ComplaintEvent(request.step, now, authority_of(caller, Bilingual()), request.text, request.region)
        event = replace(event, id=complaints.add_event(connection, complaint.id, event, caller.name))
        ended = now if state in rules.ENDED else None
        region = request.region or complaint.region
        complaints.change(connection, complaint.id, state, region, ended)
        _audit(connection, complaint, request.step, caller.name, now, rules.logged_step(event, state))
    return replace(complaint, state=state, region=region, ended_at=ended, events=(*complaint.events, event))


def forget(engine: Engine, now: datetime) -> tuple[int, int]:
    """Delete contacts and photos of complaints that ended 180 days ago.

    Returns the numbers of deleted contacts and photos. Raises Unavailable.
    """
    with transaction(engine) as connection:
        contacts, photos = complaints.forget(connection, now - rules.KEPT_AFTER_END, now - LIKENESS_KEPT)
        if contacts or photos:
            detail = {"contacts": contacts, "photos": photos}
            audit.append(
                connection, at=now, actor=_WORKER, action="complaint.forget", object_="complaints", detail=detail
            )
    return contacts, photos


def _reached(connection: Connection, number: str, caller: Caller, *, lock: bool = False) -> Complaint:
    complaint = complaints.get(connection, reference.read_number(number) or "", lock=lock)
    if complaint is None or not caller.reaches(complaint.uscc, complaint.region):
        raise _unknown()
    return complaint


def _unknown() -> NotFound:
    return NotFound(Text("没有这件投诉", "there is no such complaint"))


def _audit(
    connection: Connection, complaint: Complaint, step: ComplaintStep, actor: str, at: datetime, detail: dict[str, Any]
) -> None:
    action = f"complaint.{step.value}"
    audit.append(connection, at=at, actor=actor, action=action, object_=f"complaint:{complaint.number}", detail=detail)
