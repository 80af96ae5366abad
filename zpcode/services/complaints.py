"""Complaints: received from anybody, handled by the office they lie with, followed by whoever holds the key.

One transaction each. The description, the place of purchase and the answers stay on record. Contact and photos are
deleted 180 days after the complaint has ended; one that nobody ends keeps them until somebody does. The audit log has
who did what and the SHA-256 of description and answers, never a text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keys.keyring import Keyring, SealVerdict
from zpcode.errors import KeyringError, MalformedCode, NotFound, Text
from zpcode.rules.access import Caller
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.complaints.complaint import (
    Complaint,
    ComplaintEvent,
    ComplaintForm,
    ComplaintProof,
    ComplaintState,
    ComplaintStep,
    StepRequest,
)
from zpcode.rules.regions import PROVINCE
from zpcode.rules.status.permissions import authority_of
from zpcode.store import audit, complaints
from zpcode.store.complaints import Concerned, Marks
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.calendar import today
from zpcode.wire.gs1 import AI_GTIN, gtin14
from zpcode.wire.link import path_of
from zpcode.wire.link import read as read_code
from zpcode.wire.vocabulary import Bilingual

MAX_PAGE: Final = 200
LIKENESS_KEPT: Final = timedelta(days=1)
_SYSTEM: Final = Bilingual("浙品码平台", "the service of 浙品码")
_WORKER: Final = "system:*:worker"


@dataclass(frozen=True, slots=True)
class ComplaintSubject:
    """What a code says it is: `level` of a readable code, the product on record, and what its seal is worth.

    The product is what the code *claims*: a copied or forged code claims one as well. `path` is the one form of what
    a readable code stands for, from `/01/` on without a seal, however it was typed.
    """

    code: str = ""
    proof: ComplaintProof = ComplaintProof.NONE
    level: str = ""
    product: Concerned | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """The answer to a form. `key` is empty where the complaint was there already, made with another ticket.

    `other`: the ticket was used before, for a complaint that reads differently; nothing was recorded.
    """

    number: str
    at: datetime
    repeated: bool
    key: str = field(default="", repr=False)
    other: bool = False


def secret(engine: Engine) -> bytes:
    """What tickets and follow keys are derived from. Raises Unavailable."""
    with transaction(engine) as connection:
        return complaints.secret(connection)


def about(engine: Engine, keyring: Callable[[], Keyring], text: str) -> ComplaintSubject:
    """What a scanned path, a pasted link or a typed GTIN names; nothing else is looked up, so that nobody can guess here.

    Raises Unavailable.
    """
    text = text.strip()[: rules.MAX_CODE]
    if not text:
        return ComplaintSubject()
    gtin = gtin14("".join(unicodedata.normalize("NFKC", text).split()))
    if gtin is not None:
        return ComplaintSubject(text, ComplaintProof.UNSEALED, "product", _product(engine, gtin), f"/{AI_GTIN}/{gtin}")
    try:
        code, path = read_code(path_of(text))
    except MalformedCode:
        return ComplaintSubject(text, ComplaintProof.UNREADABLE)
    proof = ComplaintProof.UNSEALED
    if code.seal is not None:
        try:
            proof = ComplaintProof.FORGED if keyring().verify(code) is SealVerdict.INVALID else ComplaintProof.SEALED
        except KeyringError:
            proof = ComplaintProof.UNCHECKED
    return ComplaintSubject(code.path, proof, str(code.identity.level), _product(engine, code.identity.gtin), path)


def _product(engine: Engine, gtin: str) -> Concerned | None:
    with transaction(engine) as connection:
        return complaints.concerned(connection, gtin)


def receive(
    engine: Engine,
    told: ComplaintForm,
    named: ComplaintSubject,
    photos: Sequence[bytes],
    *,
    ticket: bytes,
    now: datetime,
    randomness: Callable[[int], int] = secrets.randbits,
) -> Received:
    """Record a complaint, with up to three photos already encoded anew as JPEG, under a form's ticket (its nonce).

    The same ticket again, or within an hour the same in every word about the same code, is the same complaint: its
    number is given, and to the holder of the ticket its key. Raises Unavailable.
    """
    with transaction(engine) as connection:
        key_of = complaints.secret(connection)
        marks = _marks(key_of, ticket, told, photos)
        complaints.lock(connection, marks.ticket)
        complaints.lock(connection, marks.likeness)
        found = complaints.same(connection, marks, now - rules.SAME_WITHIN)
        key = reference.follow_key(key_of, ticket)
        if found is not None:
            return Received(
                found.number, found.at, repeated=True, key=key if found.ticket else "", other=not found.alike
            )
        product = named.product
        new = Complaint(
            id=0,
            number=_number(connection, now, randomness),
            received_at=now,
            told=told,
            proof=named.proof,
            gtin=None if product is None else product.gtin,
            uscc=None if product is None else product.uscc,
            region=PROVINCE if product is None else product.region,
            state=ComplaintState.RECEIVED,
        )
        made = complaints.add(connection, new, marks, photos)
        complaints.add_event(connection, made.id, ComplaintEvent(ComplaintStep.RECEIVE, now, _SYSTEM), rules.PUBLIC)
        _audit(connection, made, ComplaintStep.RECEIVE, rules.PUBLIC, now, rules.logged(made))
        return Received(made.number, now, repeated=False, key=key)


def _marks(key_of: bytes, ticket: bytes, told: ComplaintForm, photos: Sequence[bytes]) -> Marks:
    words = (told.kind, told.description, told.place, told.contact, told.code)
    parts = [*(word.encode() for word in words), *(hashlib.sha256(photo).digest() for photo in photos)]
    follow = reference.key_hash(reference.follow_key(key_of, ticket))
    return Marks(follow, ticket, reference.likeness(key_of, *parts))


def _number(connection: Connection, now: datetime, randomness: Callable[[int], int]) -> str:
    """A number nobody has: drawn until its check character reads well and it is free."""
    while True:
        number = reference.number(today(now), randomness(5 * reference.DRAWN))
        if number is not None and not complaints.taken(connection, number):
            return number


def follow(engine: Engine, number: str, key: str) -> Complaint:
    """A complaint for whoever holds its key, without contact and photos. Raises NotFound, Unavailable.

    An unknown number and a wrong key are the same; the comparison takes the same time.
    """
    with transaction(engine) as connection:
        expected = complaints.follow_hash(connection, number) or bytes(32)
        right = hmac.compare_digest(reference.key_hash(reference.read_key(key)), expected)
        found = complaints.get(connection, number) if right else None
    if found is None:
        raise _unknown()
    return replace(found, told=replace(found.told, contact=""), photos=0)


def listing(
    engine: Engine, caller: Caller, *, state: ComplaintState | None = None, before: int | None = None, limit: int = 50
) -> list[Complaint]:
    """Up to `limit` (1 … 200) complaints within the caller's reach, newest first, older than the one numbered `before`."""
    with transaction(engine) as connection:
        found = complaints.listing(connection, caller, state, before, max(1, min(limit, MAX_PAGE)))
    return found if rules.reads_contact(caller) else [replace(one, photos=0) for one in found]


def read(engine: Engine, number: str, caller: Caller) -> Complaint:
    """One complaint with its steps; contact and photos for those who handle it only. Raises NotFound, Unavailable."""
    with transaction(engine) as connection:
        found = _reached(connection, number, caller)
    if rules.reads_contact(caller):
        return found
    return replace(found, told=replace(found.told, contact=""), photos=0)


def photo(engine: Engine, number: str, position: int, caller: Caller) -> bytes:
    """One photo (1 … 3) as JPEG. Raises Forbidden for enterprises, NotFound, Unavailable."""
    rules.permit(caller)
    with transaction(engine) as connection:
        found = complaints.photo(connection, _reached(connection, number, caller).id, position)
    if found is None:
        raise NotFound(Text("没有这张照片", "there is no such photo"))
    return found


def take(engine: Engine, number: str, request: StepRequest, *, caller: Caller, now: datetime) -> Complaint:
    """Take the next step with a complaint and return it as it stands then.

    Raises Forbidden for enterprises, Refused with every finding, NotFound, Conflict (not from its present state),
    Unavailable.
    """
    rules.permit(caller)
    request = rules.check(request, caller)
    with transaction(engine) as connection:
        found = _reached(connection, number, caller, lock=True)
        state = rules.after(found.state, request.step)
        now = max([now, *(event.at for event in found.events)])  # another process's clock may be ahead of ours
        event = ComplaintEvent(request.step, now, authority_of(caller, Bilingual()), request.text, request.region)
        event = replace(event, id=complaints.add_event(connection, found.id, event, caller.name))
        ended = now if state in rules.ENDED else None
        region = request.region or found.region
        complaints.change(connection, found.id, state, region, ended)
        _audit(connection, found, request.step, caller.name, now, rules.logged_step(event, state))
    return replace(found, state=state, region=region, ended_at=ended, events=(*found.events, event))


def forget(engine: Engine, now: datetime) -> tuple[int, int]:
    """Delete contacts and photos of what ended 180 days ago; returns how many of each. Raises Unavailable."""
    with transaction(engine) as connection:
        contacts, photos = complaints.forget(connection, now - rules.KEPT_AFTER_END, now - LIKENESS_KEPT)
        if contacts or photos:
            detail = {"contacts": contacts, "photos": photos}
            audit.append(
                connection, at=now, actor=_WORKER, action="complaint.forget", object_="complaints", detail=detail
            )
    return contacts, photos


def _reached(connection: Connection, number: str, caller: Caller, *, lock: bool = False) -> Complaint:
    found = complaints.get(connection, reference.read_number(number) or "", lock=lock)
    if found is None or not caller.reaches(found.uscc, found.region):
        raise _unknown()
    return found


def _unknown() -> NotFound:
    return NotFound(Text("没有这件投诉", "there is no such complaint"))


def _audit(
    connection: Connection, found: Complaint, step: ComplaintStep, actor: str, at: datetime, detail: dict[str, Any]
) -> None:
    action = f"complaint.{step.value}"
    audit.append(connection, at=at, actor=actor, action=action, object_=f"complaint:{found.number}", detail=detail)
