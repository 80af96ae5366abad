"""Facts that somebody changes past the service, with the database role of the authority: fsck names each, and spreads none."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.status_setting import MAKER, OPERATOR
from zpcode.projection import projector
from zpcode.rules.batches.batch import BatchRequest
from zpcode.rules.complaints.complaint import KEPT_AFTER_END, ComplaintForm, ComplaintKind
from zpcode.services import complaints
from zpcode.services.batches.reserve import reserve
from zpcode.services.complaints import ComplaintSubject, SentComplaint
from zpcode.services.fsck.report import InvariantState
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_cards import rebuild_cards
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key, notices_key, product_key
from zpcode.wire.payload import Level

_PICTURE = '{"source": "x", "picture": {"digest": "00", "width": 1, "height": 1, "widths": [1]}}'
REGISTRY = {
    "a certificate is valid for longer": ("UPDATE certificate SET valid_to = '2039-12-31'", "certificate:ZM-0001"),
    "a recognition is valid for longer": ("UPDATE recognition SET valid_to = '2038-12-31'", "recognition:PZB-0001"),
    "an enterprise has another name": (
        "UPDATE enterprise SET name = '{\"zh\": \"别家公司\"}'",
        f"enterprise:{uscc(1)}",
    ),
    "an enterprise may have more codes": ("UPDATE enterprise SET code_quota = 1000000000", f"enterprise:{uscc(1)}"),
    "a standard is abolished": ("UPDATE standard SET status = 'abolished'", "standard:T/ZZB 0001-2023"),
    "a body has another name": ("UPDATE certification_body SET name = '{\"zh\": \"别的中心\"}'", "body:ZJ-01"),
    "a product is of a higher tier": ("UPDATE product SET tier = 'china_premium'", f"product:{gtin(1)}"),
    "a product loses its certificate": ("DELETE FROM product_certificate", f"product:{gtin(1)}"),
    "a product loses its standard": ("DELETE FROM product_standard", f"product:{gtin(1)}"),
    "an indicator has another value": (
        (
            "WITH former AS (DELETE FROM indicator RETURNING *) INSERT INTO indicator"
            " SELECT gtin, position + 1, name, direction, unit, '{\"zh\": \"99\"}', standard_value, national_value,"
            " benchmark_value, method, report FROM former"
        ),
        f"indicators:{gtin(1)}",
    ),
    "the commitments are gone": ("DELETE FROM commitment", f"commitments:{gtin(1)}"),
    "a claim is added": (
        (
            "INSERT INTO claim (gtin, position, kind, text, evidence)"
            " SELECT gtin, 2, 'carbon', '{\"zh\": \"零碳\"}', 'C-1' FROM product"
        ),
        f"claims:{gtin(1)}",
    ),
    "a picture is another": ("UPDATE product SET image_developed = cast(:picture AS jsonb)", f"image:{gtin(1)}"),
    "a mark is another": ("UPDATE product SET mark_developed = cast(:picture AS jsonb)", f"mark:{gtin(1)}"),
    "a recognition is added": (
        (
            "INSERT INTO recognition (number, gtin, path, valid_from, valid_to, certificate)"
            " SELECT 'PZB-0099', gtin, path, '2025-01-01', '2039-12-31', certificate FROM recognition"
        ),
        "recognition:PZB-0099",
    ),
}  # fmt: skip
"""What is done with the role of the authority, and the name of the record that fsck reports."""
BATCHES = {
    "active from another day": "UPDATE batch SET activated_at = activated_at - interval '1 day' WHERE number = :item",
    "not active any more": "UPDATE batch SET activated_at = NULL WHERE number = :item",
    "issued on another day": "UPDATE batch SET issued_at = issued_at - interval '1 day' WHERE number = :item",
    "with signatures that nobody keeps": "UPDATE batch SET signatures_sha256 = repeat('0', 64) WHERE number = :item",
    "without its file": "UPDATE batch SET file_removed_at = now() WHERE number = :item",
    "with a request for its file": "UPDATE batch SET file_requested_at = now() WHERE number = :item",
}


def attack(world: CheckedService, statement: str) -> None:
    """Run a statement as the authority's role, past the service."""
    values = world.numbers | {"picture": _PICTURE, "other": gtin(2), "card": product_key(gtin(1))}
    with world.engine.begin() as connection:
        changed = connection.execute(text(statement), values)
    assert changed.rowcount > 0, "the attack did nothing"


def in_redis(world: CheckedService, key: str) -> bytes:
    """The bytes of a card that is a separate value in Redis."""
    where, _ = redis_keys.location(key)
    body: bytes = world.redis.get(where)  # type: ignore[assignment]
    return body


def places(world: CheckedService, check: str) -> set[str]:
    """Where the findings of one check are."""
    result = world.of(check)
    assert (result.state is InvariantState.BROKEN) == bool(result.findings)
    return {finding.where for finding in result.findings}


@pytest.mark.parametrize("attacked", REGISTRY)
def test_a_changed_record_is_named_and_no_card_is_derived_from_it(world: CheckedService, attacked: str) -> None:
    """Not by `fsck --repair`, and not when all cards are derived again."""
    statement, name = REGISTRY[attacked]
    before = in_redis(world, product_key(gtin(1)))
    attack(world, statement)
    assert name in places(world, "registry-records")
    report = world.check(repair=True)
    rebuilt = rebuild_cards(world.engine, now=world.context.now)
    projector.catch_up(world.engine, world.redis)
    assert in_redis(world, product_key(gtin(1))) == before
    assert not report.whole
    if report.of("cards").wrong:  # the name of a body and the quota are on no card
        assert "withheld" in {finding.reason for finding in report.of("cards").findings}
        assert rebuilt.written == ()
        assert name in rebuilt.withheld[gtin(1)]


def test_a_recognition_that_is_moved_to_another_product_changes_neither_page(world: CheckedService) -> None:
    import_registry(world.engine, as_json(registry(2)), actor=OPERATOR.name, now=world.context.now)
    projector.catch_up(world.engine, world.redis)
    before = [in_redis(world, product_key(gtin(number))) for number in (1, 2)]
    attack(world, "UPDATE recognition SET gtin = :other WHERE number = 'PZB-0001'")
    assert places(world, "registry-records") == {"recognition:PZB-0001", f"product:{gtin(1)}", f"product:{gtin(2)}"}
    world.check(repair=True)
    assert [in_redis(world, product_key(gtin(number))) for number in (1, 2)] == before


def test_a_changed_record_is_entered_again_with_the_whole_file(world: CheckedService) -> None:
    attack(world, "UPDATE certificate SET valid_to = '2039-12-31'")
    whole = registry(1)
    whole["certificates"][0] |= {"rule": None, "accepted": None}
    now = world.context.now
    import_registry(world.engine, as_json(whole), actor=OPERATOR.name, now=now)
    projector.catch_up(world.engine, world.redis)
    assert world.check().whole


def test_a_quota_that_was_raised_and_lowered_again_is_noticed(world: CheckedService) -> None:
    """The row's own time says nothing: the role can change it too."""
    own = registry(1)["enterprises"][0] | {"code_quota": 300}
    now = world.context.now
    import_registry(world.engine, as_json({"enterprises": [own]}), actor=OPERATOR.name, now=now)
    attack(world, "UPDATE enterprise SET code_quota = 1000000")
    request, later = BatchRequest(Level.ITEM, gtin(1), 100, lot="L-2"), now + timedelta(seconds=1)
    reserve(world.engine, request, caller=MAKER, idempotency_key="beyond", base="https://zpm.example", now=later)
    attack(world, "UPDATE enterprise SET code_quota = 300, updated_at = now() + interval '1 day'")
    assert places(world, "quotas") == {f"enterprise:{uscc(1)}"}


@pytest.mark.parametrize("attacked", BATCHES)
def test_a_batch_that_was_changed_later_is_named_and_no_card_is_derived_from_it(
    world: CheckedService, attacked: str
) -> None:
    before = in_redis(world, batch_key(world.item))
    attack(world, BATCHES[attacked])
    assert places(world, "batch-audit") == {f"batch:{world.item}"}
    report = world.check(repair=True)
    projector.catch_up(world.engine, world.redis)
    assert in_redis(world, batch_key(world.item)) == before
    assert not report.whole


def test_a_batch_is_not_activated_past_the_service(world: CheckedService) -> None:
    """Its lot is not shown as active either."""
    now = world.context.now
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE batch SET activated_at = :at WHERE number = :lot"), {"at": now, "lot": world.lot}
        )
    before = in_redis(world, f"l:{gtin(1)}:L-1")
    report = world.check(repair=True)
    projector.catch_up(world.engine, world.redis)
    assert in_redis(world, f"l:{gtin(1)}:L-1") == before
    withheld = [one.where for one in report.of("cards").findings if one.reason == "withheld"]
    assert withheld == [f"b:{world.lot}", f"l:{gtin(1)}:L-1"]


def test_what_is_reserved_of_a_batch_cannot_be_changed_with_this_role(world: CheckedService) -> None:
    """The owner of the tables can, and fsck names the batch: the keys too, which determine the serials."""
    for column in ("permutation_key", "check_key", "format", "created_by", "quantity", "uscc"):
        with pytest.raises(DBAPIError, match="permission denied"):
            attack(world, f"UPDATE batch SET {column} = {column}")  # noqa: S608 - names of this test
    changes = ("permutation_key = decode(repeat('00', 16), 'hex')", "created_by = 'nobody'", "format = 'jsonl'")
    for change in changes:
        world.sql(f"UPDATE batch SET {change} WHERE number = :compact")  # noqa: S608 - texts of this test
        assert places(world, "batch-audit") == {f"batch:{world.compact}"}
    world.sql("UPDATE batch SET check_key = decode(repeat('00', 16), 'hex') WHERE number = :compact")
    assert places(world, "batch-audit") == {f"batch:{world.compact}"}


def complained(world: CheckedService) -> str:
    """The number of an open complaint with a contact and two photos."""
    form = ComplaintForm(ComplaintKind.QUALITY, "It broke", "杭州某店", "13800000001", "/01/x")
    sent = SentComplaint(form, b"t" * 16)
    photos = [b"one", b"two"]
    return complaints.receive(world.engine, sent, ComplaintSubject("/01/x"), photos, now=world.context.now).number


def test_what_a_complaint_says_cannot_be_changed_with_this_role(world: CheckedService) -> None:
    """The owner of the tables can, and fsck names the complaint: place, code, enterprise, follow key."""
    number = complained(world)
    columns = ("place", "code", "uscc", "gtin", "description", "follow_hash", "ticket", "language", "over_budget")
    for column in columns:
        with pytest.raises(DBAPIError, match="permission denied"):
            attack(world, f"UPDATE complaint SET {column} = {column}")  # noqa: S608 - names of this test
    changes = (
        "place = '宁波某店'",
        "code = ''",
        f"uscc = '{uscc(1)}'",
        "follow_hash = sha256('x')",
        "language = 'en'",
    )
    for change in changes:
        world.sql(f"UPDATE complaint SET {change} WHERE number = '{number}'")  # noqa: S608 - texts of this test
        assert f"complaint:{number}" in places(world, "complaints")


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("DELETE FROM complaint_contact", "contact"),
        ("DELETE FROM complaint_photo WHERE position = 1", "photos"),
        ("INSERT INTO complaint_photo SELECT complaint, 3, 'other' FROM complaint_photo WHERE position = 1", "photos"),
    ],
)
def test_a_contact_or_photo_that_was_exchanged_or_taken_away_is_named(
    world: CheckedService, statement: str, part: str
) -> None:
    number = complained(world)
    attack(world, statement)
    assert f"complaint-{part}:{number}" in places(world, "complaints")


def test_a_contact_with_another_number_is_named(world: CheckedService) -> None:
    """Also with the salt of the former one: the role may read it."""
    number = complained(world)
    with world.engine.begin() as connection:
        former = connection.execute(text("DELETE FROM complaint_contact RETURNING complaint, salt")).all()
        for row in former:
            insert = text("INSERT INTO complaint_contact VALUES (:complaint, '13900000000', :salt)")
            connection.execute(insert, {"complaint": row.complaint, "salt": row.salt})
    assert f"complaint-contact:{number}" in places(world, "complaints")


def test_what_is_deleted_180_days_after_the_end_is_not_missed(world: CheckedService) -> None:
    """The complaint of this world is closed; the open one keeps its contact."""
    number = complained(world)
    later = world.context.now + KEPT_AFTER_END + timedelta(minutes=1)
    assert complaints.forget(world.engine, later) == (1, 0)
    aged = replace(world, context=replace(world.context, now=later))
    assert aged.of("complaints").state is InvariantState.HOLDS
    early = replace(world, context=replace(world.context, now=later - timedelta(days=2)))
    assert [one.reason for one in early.of("complaints").findings] == ["missing"]
    with world.engine.begin() as connection:
        left = connection.execute(
            text("SELECT number FROM complaint JOIN complaint_contact ON complaint = id")
        ).scalars()
        assert list(left) == [number]


def test_the_log_has_no_contact_and_nothing_that_one_can_be_guessed_from(world: CheckedService) -> None:
    """Two complaints with the same contact have different digests; the salt is deleted with the contact."""
    complained(world)
    form = ComplaintForm(ComplaintKind.OTHER, "Again", "", "13800000001", "")
    complaints.receive(world.engine, SentComplaint(form, b"u" * 16), ComplaintSubject(), (), now=world.context.now)
    with world.engine.begin() as connection:
        details = connection.execute(
            text("SELECT detail::text FROM audit WHERE action = 'complaint.receive'")
        ).scalars()
        digests = connection.execute(
            text(
                "SELECT r.value FROM audit a, jsonb_each_text(a.detail -> 'records') r WHERE r.key LIKE 'complaint-contact:%'"
            )
        ).scalars()
        assert not any("138000" in detail for detail in details)
        values = list(digests)
    assert len(values) == len(set(values)) == 3


def test_a_notice_is_not_written_again_with_a_changed_name(world: CheckedService) -> None:
    before = in_redis(world, notices_key())
    attack(world, 'UPDATE product SET name = \'{"zh": "别的产品"}\'')
    report = world.check(repair=True)
    projector.catch_up(world.engine, world.redis)
    assert notices_key() in {one.where for one in report.of("cards").findings if one.reason == "withheld"}
    assert in_redis(world, notices_key()) == before


def test_what_a_recovery_left_cannot_be_invented(world: CheckedService) -> None:
    """A kept card would be shown as it is, and a lost batch hides what codes exist."""
    attack(world, "INSERT INTO kept_card SELECT key, 1, body FROM card WHERE key = :card")
    attack(world, "SELECT nextval('batch_number')")
    attack(world, "INSERT INTO lost_batch (number, recovery) SELECT last_value, 1 FROM batch_number")
    attack(world, "INSERT INTO recovery VALUES (1, now(), 'x', 1, '{}')")
    attack(
        world,
        "INSERT INTO held_decision (scope, target, recovery, timeline) VALUES ('lot', 'x', 1, decode('9190', 'hex'))",
    )
    lost = f"lost-batch:{world.waiting + 1}"
    expected = {f"kept-card:p:{gtin(1)}", lost, "held-decision:lot:x#0-0", "recovery:1"}
    assert places(world, "recovery-records") == expected
    attack(world, "UPDATE kept_card SET body = (SELECT body FROM card WHERE key LIKE 'b:%' LIMIT 1)")
    assert not world.check(repair=True).whole
