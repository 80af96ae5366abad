"""Complaints and their steps (append-only). Contacts and photos are in separate tables, so they can be deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BindParameter, Connection, Row, Subquery, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from zpcode.rules.access import Caller
from zpcode.rules.complaints.complaint import (
    Complaint,
    ComplaintEvent,
    ComplaintForm,
    ComplaintKind,
    ComplaintProof,
    ComplaintState,
    ComplaintStep,
)
from zpcode.store import locks
from zpcode.store.locks import Lock
from zpcode.store.reach import within
from zpcode.store.tables.complaints import (
    complaint,
    complaint_contact,
    complaint_event,
    complaint_photo,
    complaint_secret,
)
from zpcode.store.tables.registry import enterprise, product
from zpcode.wire.vocabulary import Bilingual


@dataclass(frozen=True, slots=True)
class ComplaintProduct:
    """The registered product of a complaint: its GTIN and name, and the USCC and region of its enterprise."""

    gtin: str
    uscc: str
    region: str
    name: Bilingual


@dataclass(frozen=True, slots=True)
class ComplaintIdentity:
    """What identifies a complaint: the hash of its follow key (32 bytes), the nonce of its form's ticket (16), its likeness (32)."""

    follow_hash: bytes
    ticket: bytes
    likeness: bytes


@dataclass(frozen=True, slots=True)
class EarlierComplaint:
    """A stored complaint that is the same as a new one.

    `ticket`: both have the same ticket. `alike`: both have the same content. At least one of the two is true.
    """

    number: str
    at: datetime
    ticket: bool
    alike: bool


class ComplaintRow(NamedTuple):
    """A complaint without contact, photos and steps; the hash of its follow key, and the nonce of its ticket."""

    complaint: Complaint
    follow_hash: bytes
    ticket: bytes


class ContactRow(NamedTuple):
    """A contact with its salt."""

    contact: str
    salt: bytes


def secret(connection: Connection) -> bytes:
    """The secret (32 bytes) from which tickets and follow keys are derived. The migration created it."""
    return bytes(connection.execute(select(complaint_secret.c.secret)).scalar_one())


def registered_product(connection: Connection, gtin: str) -> ComplaintProduct | None:
    """The registered product with this GTIN and its enterprise, or None."""
    query = select(product.c.gtin, product.c.uscc, product.c.name, enterprise.c.region)
    query = query.join(enterprise, enterprise.c.uscc == product.c.uscc).where(product.c.gtin == gtin)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return ComplaintProduct(row.gtin, row.uscc, row.region, msgspec.convert(row.name, Bilingual))


def lock(connection: Connection, likeness: bytes) -> None:
    """Take the lock for recording this complaint until the transaction ends."""
    locks.hold(connection, Lock.LIKENESS, int.from_bytes(likeness[:4], "big", signed=True))


def earlier(connection: Connection, identity: ComplaintIdentity, since: datetime) -> EarlierComplaint | None:
    """The complaint with this ticket, or else the first one with this likeness received after `since`; or None."""
    columns = (complaint.c.number, complaint.c.received_at, complaint.c.likeness)
    row = connection.execute(select(*columns).where(complaint.c.ticket == identity.ticket)).one_or_none()
    if row is not None:
        return EarlierComplaint(row.number, row.received_at, ticket=True, alike=row.likeness == identity.likeness)
    like = (complaint.c.likeness == identity.likeness) & (complaint.c.received_at > since)
    row = connection.execute(select(*columns).where(like).order_by(complaint.c.id).limit(1)).one_or_none()
    return None if row is None else EarlierComplaint(row.number, row.received_at, ticket=False, alike=True)


def is_used(connection: Connection, number: str) -> bool:
    """Whether a complaint has this number."""
    return connection.execute(select(complaint.c.id).where(complaint.c.number == number)).one_or_none() is not None


def add(
    connection: Connection, new: Complaint, identity: ComplaintIdentity, photos: Sequence[bytes], salt: bytes
) -> Complaint:
    """Insert a complaint with its contact and photos, without steps; return it with its id.

    `salt` (32 random bytes) is stored with the contact: the audit log has a digest of the contact with it.
    """
    form = new.form
    written = insert(complaint).values(
        number=new.number,
        received_at=new.received_at,
        kind=form.kind.value,
        description=form.description,
        place=form.place,
        code=form.code,
        language=form.language,
        proof=new.proof.value,
        gtin=new.gtin,
        uscc=new.uscc,
        region=new.region,
        state=new.state.value,
        follow_hash=identity.follow_hash,
        ticket=identity.ticket,
        likeness=identity.likeness,
        over_budget=new.over_budget,
    )
    id_ = int(connection.execute(written.returning(complaint.c.id)).scalar_one())
    if form.contact:
        connection.execute(insert(complaint_contact).values(complaint=id_, contact=form.contact, salt=salt))
    for position, jpeg in enumerate(photos, 1):
        connection.execute(insert(complaint_photo).values(complaint=id_, position=position, jpeg=jpeg))
    return replace(new, id=id_, photos=len(photos))


def add_event(connection: Connection, complaint_id: int, event: ComplaintEvent, taken_by: str) -> int:
    """Insert a step and return its number."""
    written = insert(complaint_event).values(
        complaint=complaint_id,
        step=event.step.value,
        at=event.at,
        taken_by=taken_by,
        authority=msgspec.to_builtins(event.authority),
        text=event.text,
        region=event.region,
    )
    return int(connection.execute(written.returning(complaint_event.c.id)).scalar_one())


def change(
    connection: Connection, complaint_id: int, state: ComplaintState, region: str, ended_at: datetime | None
) -> None:
    """Store the state after the last step of a complaint."""
    values = {"state": state.value, "region": region, "ended_at": ended_at}
    connection.execute(update(complaint).where(complaint.c.id == complaint_id).values(values))


def get(connection: Connection, number: str, *, lock: bool = False) -> Complaint | None:
    """The complaint with this number, its contact and steps; or None. `lock` locks the row until the transaction ends."""
    query = select(complaint).where(complaint.c.number == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    contact = select(complaint_contact.c.contact).where(complaint_contact.c.complaint == row.id)
    stored = complaint_of(row, _counts(connection, [row.id]).get(row.id, 0))
    return replace(
        stored,
        form=replace(stored.form, contact=connection.execute(contact).scalar() or ""),
        events=tuple(events(connection, row.id)),
    )


def follow_hash(connection: Connection, number: str) -> bytes | None:
    """The hash of the follow key of the complaint with this number, or None."""
    stored = connection.execute(select(complaint.c.follow_hash).where(complaint.c.number == number)).scalar()
    return None if stored is None else bytes(stored)


def events(connection: Connection, complaint_id: int) -> list[ComplaintEvent]:
    """All steps of a complaint, in order."""
    query = select(complaint_event).where(complaint_event.c.complaint == complaint_id).order_by(complaint_event.c.id)
    return [_event(row) for row in connection.execute(query)]


def listing(
    connection: Connection, caller: Caller, state: ComplaintState | None, before: int | None, limit: int
) -> list[Complaint]:
    """Up to `limit` complaints within a caller's reach, newest first, without contacts and steps."""
    mine = within(caller, complaint.c.uscc, complaint.c.region)
    query = select(complaint).where(mine).order_by(complaint.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(complaint.c.state == state.value)
    if before is not None:
        query = query.where(complaint.c.id < before)
    rows = connection.execute(query).all()
    counts = _counts(connection, [row.id for row in rows])
    return [complaint_of(row, counts.get(row.id, 0)) for row in rows]


def photo(connection: Connection, complaint_id: int, position: int) -> bytes | None:
    """One photo of a complaint (1 … 3) as JPEG, or None."""
    where = (complaint_photo.c.complaint == complaint_id) & (complaint_photo.c.position == position)
    jpeg = connection.execute(select(complaint_photo.c.jpeg).where(where)).scalar()
    return None if jpeg is None else bytes(jpeg)


def forget(connection: Connection, ended_before: datetime, received_before: datetime) -> tuple[int, int]:
    """Delete contacts and photos of complaints that ended before `ended_before`, and likenesses of those received before
    `received_before`. Return the numbers of deleted contacts and photos.
    """
    ended = select(complaint.c.id).where(complaint.c.ended_at < ended_before)
    contacts = connection.execute(delete(complaint_contact).where(complaint_contact.c.complaint.in_(ended)))
    photos = connection.execute(delete(complaint_photo).where(complaint_photo.c.complaint.in_(ended)))
    old = complaint.c.likeness.is_not(None) & (complaint.c.received_at < received_before)
    connection.execute(update(complaint).where(old).values(likeness=None))
    return contacts.rowcount, photos.rowcount


def count_kept(connection: Connection) -> int:
    """The number of complaints with a contact or photos."""
    return int(connection.execute(select(func.count()).select_from(_kept())).scalar_one())


def _kept() -> Subquery:
    return select(complaint_contact.c.complaint).union(select(complaint_photo.c.complaint)).subquery()


def overdue(connection: Connection, ended_before: datetime) -> list[str]:
    """The numbers of up to 100 complaints that ended before `ended_before` and still have a contact or photos."""
    query = select(complaint.c.number).where(complaint.c.ended_at < ended_before, complaint.c.id.in_(select(_kept())))
    return list(connection.execute(query.order_by(complaint.c.id).limit(100)).scalars())


def every(connection: Connection) -> Iterator[tuple[Complaint, list[str]]]:
    """All complaints with their steps, without contacts, photos and authorities; and the caller of each step."""
    steps = [
        complaint_event.c[name].label(f"step_{name}") for name in ("id", "step", "at", "taken_by", "text", "region")
    ]
    query = select(complaint, *steps).outerjoin(complaint_event, complaint_event.c.complaint == complaint.c.id)
    rows = connection.execute(query.order_by(complaint.c.id, complaint_event.c.id).execution_options(yield_per=500))
    for _, group in groupby(rows, key=lambda row: row.id):
        joined = list(group)
        step_rows = [row for row in joined if row.step_id is not None]
        events = tuple(
            ComplaintEvent(
                ComplaintStep(row.step_step), row.step_at, Bilingual(), row.step_text, row.step_region, row.step_id
            )
            for row in step_rows
        )
        yield replace(complaint_of(joined[0], 0), events=events), [row.step_taken_by for row in step_rows]


def record_rows(connection: Connection, numbers: Collection[str]) -> dict[str, ComplaintRow]:
    """These complaints by number."""
    selected = connection.execute(select(complaint).where(complaint.c.number == func.any(_array(numbers))))
    return {
        row.number: ComplaintRow(complaint_of(row, 0), bytes(row.follow_hash), bytes(row.ticket)) for row in selected
    }


def contact_rows(connection: Connection, numbers: Collection[str]) -> dict[str, ContactRow]:
    """The stored contacts of these complaints by number."""
    query = select(complaint.c.number, complaint_contact.c.contact, complaint_contact.c.salt)
    query = query.join(complaint, complaint.c.id == complaint_contact.c.complaint)
    selected = connection.execute(query.where(complaint.c.number == func.any(_array(numbers))))
    return {row.number: ContactRow(row.contact, bytes(row.salt)) for row in selected}


def photo_hashes(connection: Connection, numbers: Collection[str]) -> dict[str, list[str]]:
    """The SHA-256 (hex) of the stored photos of these complaints, in their order, by number."""
    query = select(complaint.c.number, func.encode(func.sha256(complaint_photo.c.jpeg), "hex").label("hash"))
    query = query.join(complaint, complaint.c.id == complaint_photo.c.complaint)
    query = query.where(complaint.c.number == func.any(_array(numbers))).order_by(complaint_photo.c.position)
    hashes: dict[str, list[str]] = {}
    for row in connection.execute(query):
        hashes.setdefault(row.number, []).append(row.hash)
    return hashes


def numbers_after(connection: Connection, after: str, limit: int) -> list[str]:
    """Up to `limit` numbers of complaints that follow `after`, in order; from the first for an empty text."""
    query = select(complaint.c.number).where(complaint.c.number > after).order_by(complaint.c.number).limit(limit)
    return list(connection.execute(query).scalars())


def ended(connection: Connection, numbers: Collection[str], before: datetime) -> set[str]:
    """Those of these complaints that ended before a time."""
    among = complaint.c.number == func.any(_array(numbers))
    return set(connection.execute(select(complaint.c.number).where(among, complaint.c.ended_at < before)).scalars())


def _array(numbers: Collection[str]) -> BindParameter[Sequence[str]]:
    return bindparam("numbers", list(numbers), ARRAY(Text))


def _counts(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    query = select(complaint_photo.c.complaint, func.count()).where(complaint_photo.c.complaint.in_(ids))
    rows = connection.execute(query.group_by(complaint_photo.c.complaint))
    return {int(id_): int(count) for id_, count in rows}


def complaint_of(row: Row[Any], photos: int) -> Complaint:
    """The complaint in a row of its table, without contact and steps; `photos` is the number of its photos."""
    form = ComplaintForm(ComplaintKind(row.kind), row.description, row.place, "", row.code, row.language)
    return Complaint(
        id=row.id,
        number=row.number,
        received_at=row.received_at,
        form=form,
        proof=ComplaintProof(row.proof),
        gtin=row.gtin,
        uscc=row.uscc,
        region=row.region,
        state=ComplaintState(row.state),
        ended_at=row.ended_at,
        photos=photos,
        over_budget=row.over_budget,
    )


def _event(row: Row[Any]) -> ComplaintEvent:
    authority = msgspec.convert(row.authority, Bilingual)
    return ComplaintEvent(ComplaintStep(row.step), row.at, authority, row.text, row.region, row.id)
