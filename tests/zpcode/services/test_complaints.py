"""Complaints in the database: stored once, handled by the right office, deleted in time, checked by fsck."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from keys.client import SignerClient
from keys.keyring import Keyring
from tests.support import databases
from tests.support.clock import NOW
from tests.support.code_folders import code_folder
from tests.support.databases import Furnished, as_owner
from tests.support.registry_data import as_json, gtin, registry
from tests.support.status_setting import CITY, COUNTY, MAKER, NINGBO, OPERATOR, OTHER, PROVINCE
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import Conflict, Forbidden, KeyringError, NotFound, Refused, Text
from zpcode.rules.complaints.complaint import (
    ComplaintForm,
    ComplaintKind,
    ComplaintProof,
    ComplaintState,
    ComplaintStep,
    StepRequest,
)
from zpcode.services import audit, complaints
from zpcode.services.batches.queue import IssueQueue
from zpcode.services.complaints import ComplaintReceipt, ComplaintSubject, SentComplaint
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.registry.importing import import_registry
from zpcode.store import audit as log
from zpcode.store.database.session import transaction
from zpcode.worker import Worker

COMPLAINT_FORM = ComplaintForm(
    ComplaintKind.COUNTERFEIT, "It broke\nat once", "Yuhang market", "13800000000", gtin(), "en"
)
ANSWER = StepRequest(ComplaintStep.ANSWER, "We have spoken to them")


def no_keyring() -> NoReturn:
    """The keyring of an authority that cannot trust it."""
    raise KeyringError(Text("不可信", "not to be trusted"))


@pytest.fixture(scope="module")
def furnished(servers: Servers, migrated: str) -> Furnished[None]:
    """A database with an enterprise in Yuhang, and one in Haishu."""
    return databases.furnish(servers, migrated, two_enterprises)


def two_enterprises(engine: Engine) -> None:
    """Import them."""
    for number, region in ((1, "330110"), (2, "330203")):
        content = registry(number)
        content["enterprises"][0]["region"] = region
        import_registry(engine, as_json(content), actor=OPERATOR.name, now=NOW)


@pytest.fixture
def registered(engine: Engine, furnished: Furnished[None]) -> Engine:
    """This test's copy of that database."""
    assert furnished.database
    return engine


def received(
    engine: Engine, now: datetime, form: ComplaintForm = COMPLAINT_FORM, *photos: bytes, nonce: int = 1
) -> ComplaintReceipt:
    """A complaint, by default about the product in Yuhang."""
    named = complaints.about(engine, no_keyring, form.code)
    sent = SentComplaint(form, nonce.to_bytes(16, "little"), tuple(sha256(photo).digest() for photo in photos))
    return complaints.receive(engine, sent, named, photos, now=now)


def row(engine: Engine, query: str) -> Any:
    """The one value a query has."""
    with transaction(engine) as connection:
        return connection.execute(text(query)).scalar()


def test_who_reaches_the_region_handles_it_and_nobody_else(registered: Engine, now: datetime) -> None:
    number = received(registered, now).number
    for caller in (COUNTY, CITY, PROVINCE, OPERATOR):
        assert complaints.read(registered, number, caller).form == COMPLAINT_FORM
        assert [complaint.number for complaint in complaints.listing(registered, caller)] == [number]
    for caller in (NINGBO, OTHER):
        assert complaints.listing(registered, caller) == []
        with pytest.raises(NotFound):
            complaints.read(registered, number, caller)
        with pytest.raises((NotFound, Forbidden)):
            complaints.take(registered, number, ANSWER, caller=caller, now=now)
    with pytest.raises(Forbidden):
        complaints.take(registered, number, ANSWER, caller=MAKER, now=now)


def test_an_enterprise_reads_no_contact_and_no_photo(registered: Engine, now: datetime) -> None:
    number = received(registered, now, COMPLAINT_FORM, b"jpeg").number
    complaint = complaints.read(registered, number, MAKER)
    assert (complaint.form, complaint.photos) == (replace(COMPLAINT_FORM, contact=""), 0)
    assert [one.photos for one in complaints.listing(registered, MAKER)] == [0]
    assert complaints.photo(registered, number, 1, COUNTY) == b"jpeg"
    with pytest.raises(Forbidden):
        complaints.photo(registered, number, 1, MAKER)
    for position, caller in ((2, COUNTY), (1, NINGBO)):
        with pytest.raises(NotFound):
            complaints.photo(registered, number, position, caller)


def test_with_the_key_one_sees_the_steps_and_neither_contact_nor_photos(registered: Engine, now: datetime) -> None:
    made = received(registered, now, COMPLAINT_FORM, b"jpeg")
    complaints.take(registered, made.number, StepRequest(ComplaintStep.ASSIGN, region="330110"), caller=CITY, now=now)
    complaints.take(registered, made.number, ANSWER, caller=COUNTY, now=now)
    complaint = complaints.follow(registered, made.number, made.key)
    assert [event.step for event in complaint.events] == [
        ComplaintStep.RECEIVE,
        ComplaintStep.ASSIGN,
        ComplaintStep.ANSWER,
    ]
    assert complaint.events[2].authority.zh == "余杭区市场监督管理局"
    assert (complaint.state, complaint.form.contact, complaint.photos) == (ComplaintState.ANSWERED, "", 0)
    for number, key in ((made.number, made.key[::-1]), (made.number, ""), ("TS-20261121-0000000", made.key)):
        with pytest.raises(NotFound):
            complaints.follow(registered, number, key)


def test_a_complaint_goes_where_it_is_assigned(registered: Engine, now: datetime) -> None:
    """A complaint can be assigned upwards too: then the county no longer sees it."""
    number = received(registered, now).number
    up = complaints.take(registered, number, StepRequest(ComplaintStep.ASSIGN, region="330100"), caller=COUNTY, now=now)
    assert up.region == "330100"
    assert complaints.listing(registered, COUNTY) == []
    complaints.take(registered, number, StepRequest(ComplaintStep.ASSIGN, region="330203"), caller=OPERATOR, now=now)
    assert [complaint.number for complaint in complaints.listing(registered, NINGBO)] == [number]
    with pytest.raises(Refused):
        complaints.take(registered, number, StepRequest(ComplaintStep.ASSIGN, region="330110"), caller=NINGBO, now=now)


def test_what_ended_stays_so_and_says_when(registered: Engine, now: datetime) -> None:
    number = received(registered, now).number
    closed = complaints.take(registered, number, StepRequest(ComplaintStep.CLOSE, "Replaced"), caller=COUNTY, now=now)
    assert (closed.state, closed.ended_at) == (ComplaintState.CLOSED, now)
    with pytest.raises(Conflict):
        complaints.take(registered, number, ANSWER, caller=OPERATOR, now=now)
    assert complaints.listing(registered, COUNTY, state=ComplaintState.RECEIVED) == []


def test_sent_by_two_processes_at_once_it_is_one_complaint(registered: Engine, now: datetime) -> None:
    """The same ticket, and the same text under different tickets."""
    with ThreadPoolExecutor(4) as threads:
        twice = list(threads.map(lambda _: received(registered, now), range(4)))
        alike = list(
            threads.map(
                lambda one: received(registered, now, replace(COMPLAINT_FORM, place="x"), nonce=one), range(5, 9)
            )
        )
    assert len({(receipt.number, receipt.key) for receipt in twice}) == 1
    assert [receipt.repeated for receipt in twice].count(False) == 1
    assert len({receipt.number for receipt in alike}) == 1
    assert sorted(bool(receipt.key) for receipt in alike) == [False, False, False, True]
    assert row(registered, "SELECT count(*) FROM complaint") == 2


def test_a_number_is_drawn_until_it_is_free_and_reads_well(registered: Engine, now: datetime) -> None:
    first, second = (received(registered, now, replace(COMPLAINT_FORM, place=f"{one}"), nonce=one) for one in (1, 2))
    drawn = iter([7, 7, 8, 9, 10])
    made = [
        complaints.receive(
            registered, SentComplaint(replace(COMPLAINT_FORM, place=f"{one}"), bytes([one] * 16)), ComplaintSubject(), (), now=now,
            randomness=lambda _: next(drawn),
        ).number
        for one in (3, 4)
    ]  # fmt: skip
    assert len({first.number, second.number, *made}) == 4


def test_what_a_code_names(registered: Engine) -> None:
    for code, proof, level, has_product in (
        ("", ComplaintProof.NONE, "", False),
        (gtin(), ComplaintProof.UNSEALED, "product", True),
        (gtin()[1:], ComplaintProof.UNSEALED, "product", True),
        (f"https://zpm.example/01/{gtin()}/10/L1?lang=en", ComplaintProof.UNSEALED, "lot", True),
        (f"/{'A' * 103}QAAA/01/{gtin()}", ComplaintProof.UNCHECKED, "product", True),
        (f"/01/{gtin(9)}", ComplaintProof.UNSEALED, "product", False),
        ("nonsense", ComplaintProof.UNREADABLE, "", False),
    ):
        subject = complaints.about(registered, no_keyring, code)
        assert (subject.proof, subject.level, subject.product is not None) == (proof, level, has_product)


def test_a_code_has_one_path_however_it_is_typed(registered: Engine) -> None:
    """All forms of a code count as one code."""
    short = gtin()[1:]
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in short)
    typed = (
        gtin(), short, f" {short[0]} {short[1:7]}\t{short[7:]} ", wide, f"{short[:7]}\u3000{short[7:]}", f"/01/{gtin()}",
        f"https://zpm.example/01/{gtin()}?lang=en", f"/{'A' * 103}QAAA/01/{gtin()}",
    )  # fmt: skip
    assert {complaints.about(registered, no_keyring, text).path for text in typed} == {f"/01/{gtin()}"}
    item = f"/01/{gtin()}/21/00000G000000"
    assert complaints.about(registered, no_keyring, item.lower()).path == item
    assert complaints.about(registered, no_keyring, "nonsense").path == ""


def test_a_forged_seal_is_distinguished_from_a_right_one(registered: Engine, scan_keys: Any) -> None:
    room, _ = scan_keys

    def keyring() -> Keyring:
        return Keyring.load(room.keyring.read_bytes(), room.root_public.read_bytes())

    forged = complaints.about(registered, keyring, f"/{'A' * 103}QAAA/01/{gtin()}")
    assert (forged.proof, forged.product is not None) == (ComplaintProof.FORGED, True)


def test_the_audit_log_has_every_step_and_no_word(registered: Engine, now: datetime) -> None:
    number = received(registered, now).number
    complaints.take(registered, number, ANSWER, caller=COUNTY, now=now)
    entries = audit.show(registered, f"complaint:{number}")
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("complaint.answer", COUNTY.name), ("complaint.receive", "public"),
    ]  # fmt: skip
    details = str([entry.detail for entry in entries])
    for words in (COMPLAINT_FORM.description, COMPLAINT_FORM.contact, COMPLAINT_FORM.place, ANSWER.text):
        assert words not in details
    assert audit.verify(registered).whole


def test_a_marked_complaint_says_so_to_the_office_and_in_the_log(context: CheckContext, now: datetime) -> None:
    """Whoever takes the mark away, or puts one on, is found."""
    sent = SentComplaint(replace(COMPLAINT_FORM, place="a marked place"), b"m" * 16)
    named = complaints.about(context.engine, no_keyring, COMPLAINT_FORM.code)
    marked = complaints.receive(context.engine, sent, named, (), now=now, over_budget=True).number
    other = received(context.engine, now, replace(COMPLAINT_FORM, place="elsewhere"), nonce=9).number
    shown = {one.number: one for one in complaints.listing(context.engine, COUNTY)}
    assert (shown[marked].over_budget, shown[other].over_budget) == (True, False)
    details = [entry.detail for entry in audit.show(context.engine, f"complaint:{marked}")]
    assert [one.get("over_budget") for one in details] == [True]
    assert reasons(context) == set()
    with as_owner(context.engine) as connection:
        connection.execute(text("UPDATE complaint SET over_budget = NOT over_budget"))
    assert reasons(context) == {"altered"}


def test_steps_cannot_be_altered(registered: Engine, now: datetime) -> None:
    received(registered, now)
    for statement in (
        "UPDATE complaint_event SET text = 'x'",
        "DELETE FROM complaint_event",
        "TRUNCATE complaint_event",
    ):
        with pytest.raises(Exception, match="append-only"), as_owner(registered) as connection:
            connection.execute(text(statement))


def test_contact_and_photos_go_180_days_after_the_end_and_not_before(registered: Engine, now: datetime) -> None:
    number = received(registered, now, COMPLAINT_FORM, b"jpeg").number
    other = received(registered, now, replace(COMPLAINT_FORM, place="elsewhere"), b"jpeg", nonce=2).number
    complaints.take(registered, number, StepRequest(ComplaintStep.REFUSE, "Not ours"), caller=COUNTY, now=now)
    assert complaints.forget(registered, now + timedelta(days=180)) == (0, 0)
    assert complaints.forget(registered, now + timedelta(days=180, seconds=1)) == (1, 1)
    assert complaints.forget(registered, now + timedelta(days=180, seconds=1)) == (0, 0)
    complaint = complaints.read(registered, number, COUNTY)
    assert (complaint.form, complaint.photos) == (replace(COMPLAINT_FORM, contact=""), 0)
    assert complaints.read(registered, other, COUNTY).photos == 1
    assert row(registered, "SELECT count(likeness) FROM complaint") == 0
    with transaction(registered) as connection:
        (entry,) = log.about(connection, "complaints", 5)
    assert entry.detail == {"contacts": 1, "photos": 1}


@pytest.fixture
def context(registered: Engine, redis: Redis, tmp_path: Path, now: datetime) -> CheckContext:
    """What fsck looks at."""
    number = received(registered, now, COMPLAINT_FORM, b"jpeg").number
    for step in (StepRequest(ComplaintStep.ASSIGN, region="330100"), ANSWER, StepRequest(ComplaintStep.CLOSE, "Done")):
        complaints.take(registered, number, step, caller=CITY, now=now)
    return CheckContext(registered, redis, code_folder(tmp_path), no_keyring, now, patience=0)


def reasons(context: CheckContext, name: str = "complaints") -> set[str]:
    """What is found wrong."""
    return {finding.reason for finding in run.check(context, only=[name]).of(name).findings}


def test_fsck_holds_where_nobody_meddled_and_finds_who_did(context: CheckContext) -> None:
    assert reasons(context) == set()
    added = (
        "INSERT INTO complaint_event (complaint, step, at, taken_by, authority) "
        "SELECT id, 'start', received_at, 'x', '{}' FROM complaint"
    )
    undo = "UPDATE complaint SET state = 'closed', ended_at = received_at, region = '330100'"
    for statement, reason in (
        ("UPDATE complaint SET state = 'answered', ended_at = NULL", "state"),
        ("UPDATE complaint SET region = '330203'", "region"),
        (added, "chain"),
    ):  # fmt: skip
        with context.engine.begin() as connection:
            connection.execute(text(statement))
        assert reason in reasons(context)
        with context.engine.begin() as connection:
            connection.execute(text(undo))
    assert reasons(context) == {"chain", "count", "unlogged"}


MEDDLED = [
    ("UPDATE complaint SET description = 'It works'", "text"),
    ("UPDATE complaint SET kind = 'other'", "kind"),
    ("UPDATE complaint SET proof = 'forged'", "proof"),
    ("UPDATE complaint SET gtin = NULL", "gtin"),
    ("UPDATE complaint SET received_at = received_at - interval '1 day'", "received_at"),
    ("UPDATE complaint_event SET text = 'All is well' WHERE step = 'answer'", "text"),
    ("UPDATE complaint_event SET text = 'x' WHERE step = 'receive'", "words"),
    ("UPDATE complaint_event SET taken_by = 'regulator:330203:k' WHERE step = 'answer'", "by"),
    ("UPDATE complaint_event SET taken_by = 'x' WHERE step = 'receive'", "by"),
    ("UPDATE complaint_event SET region = '330110' WHERE step = 'assign'", "region"),
    ("UPDATE complaint_event SET at = at + interval '1 day' WHERE step = 'start'", "at"),
    ("UPDATE complaint_event SET step = 'start' WHERE step = 'answer'", "unlogged"),
]


def differing(context: CheckContext) -> Counter[str]:
    """The fields that differ from the audit log, and the complaints that are not in it."""
    findings = run.check(context, only=["complaints"]).of("complaints").findings
    findings = [one for one in findings if "#" in one.where]  # of steps; the digest of the whole differs too
    names = [name for one in findings if one.reason == "altered" for name in one.text.en.split(" in ")[1].split(", ")]
    return Counter([*names, *(one.reason for one in findings if one.reason == "unlogged")])


def test_fsck_compares_each_word_with_the_audit_log(context: CheckContext) -> None:
    """A change that bypasses the trigger is found too."""
    complaints.take(context.engine, unassigned(context), StepRequest(ComplaintStep.START), caller=CITY, now=context.now)
    assert reasons(context) == set()
    before = differing(context)
    for statement, name in MEDDLED:
        with as_owner(context.engine) as connection:
            connection.execute(text("ALTER TABLE complaint_event DISABLE TRIGGER USER"))
            connection.execute(text(statement))
        after = differing(context)
        assert set(after - before) == {name}, statement
        before = after


def unassigned(context: CheckContext) -> str:
    """A second complaint that is still at its first office."""
    return received(context.engine, context.now, replace(COMPLAINT_FORM, place="elsewhere"), nonce=2).number


def test_fsck_knows_where_a_complaint_lay_first_and_when_it_ended(context: CheckContext) -> None:
    unassigned(context)
    assert reasons(context) == set()
    with context.engine.begin() as connection:
        connection.execute(text("UPDATE complaint SET region = '330203' WHERE state = 'received'"))
    assert reasons(context) == {"altered"}
    with context.engine.begin() as connection:
        connection.execute(text("UPDATE complaint SET region = '330110' WHERE state = 'received'"))
        connection.execute(text("UPDATE complaint SET ended_at = ended_at + interval '9 years' WHERE state = 'closed'"))
    assert reasons(context) == {"ended"}


def test_fsck_finds_and_deletes_what_was_kept_too_long(context: CheckContext) -> None:
    late = replace(context, now=context.now + timedelta(days=181))
    assert reasons(context, "complaints-forgotten") == set()
    assert reasons(late, "complaints-forgotten") == {"kept"}
    assert run.check(replace(late, repair=True), only=["complaints-forgotten"]).whole
    assert reasons(late, "complaints-forgotten") == set()


def test_the_worker_forgets(
    registered: Engine, redis: Redis, addresses: ServerAddresses, now: datetime, tmp_path: Path
) -> None:
    """By the time it really is."""
    number = received(registered, now, COMPLAINT_FORM, b"jpeg").number
    complaints.take(registered, number, StepRequest(ComplaintStep.CLOSE, "Done"), caller=COUNTY, now=now)
    queue, signer = IssueQueue(addresses.database), SignerClient(tmp_path / "nobody")
    worker = Worker(addresses.database, registered, redis, redis, signer, queue, code_folder(tmp_path))
    query = text("UPDATE complaint SET ended_at = now() - make_interval(days => :days)")
    for days, left in ((179, 1), (181, 0)):
        with registered.begin() as connection:
            connection.execute(query, {"days": days})
        worker.forget_once()
        assert row(registered, "SELECT count(*) FROM complaint_contact") == left
        assert row(registered, "SELECT count(*) FROM complaint_photo") == left
