"""Somebody writes to Redis and lets the database look behind: the recovery enters nothing that only Redis shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from tests.support import restores
from tests.support.recovery_setting import Restorable, agreed
from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import CITY, MAKER, OPERATOR, ask, in_database, in_redis, item_verdict
from zpcode.errors import Conflict, Forbidden, NotFound
from zpcode.projection import heads, projector
from zpcode.rules.continuity import Marks
from zpcode.rules.regions import office_of
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.recovery import UNCONFIRMED_AUTHORITY
from zpcode.services import audit
from zpcode.services.continuity import settling, waiting
from zpcode.services.continuity.recover import recover
from zpcode.services.continuity.report import RecoveryReport
from zpcode.services.continuity.waiting import WaitingItem
from zpcode.services.fsck.continuity import UNCONFIRMED
from zpcode.services.status import change as status_service
from zpcode.store import batches, continuity
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.card import (
    BatchCard,
    ProductCard,
    RangeEntry,
    RangeLayer,
    Standing,
    Timeline,
    batch_key,
    item_key,
    product_key,
    standing_key,
)
from zpcode.wire.link import parse
from zpcode.wire.payload import MAX_BATCH, Level, Serial, check_of
from zpcode.wire.permutation import Permutation
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Bilingual, Scope, State

HEAD: Final = redis_keys.HEAD
PROVINCE_OFFICE: Final = office_of("330000")
KNOWN_KEY: Final = b"known to attacker"[:16]
SLANDER: Final = Bilingual("此企业的产品会爆炸", "products of this maker explode")
REVOKED: Final = Standing(State.REVOKED, 1_790_000_000, "inspection-failed", "浙市监〔2026〕99号", SLANDER, PROVINCE_OFFICE, begun=True)  # fmt: skip


def write(service: Restorable, key: str, card: Any, *, ahead: int = 1000) -> None:
    """Write a card to Redis as the authority's account may, newer than everything, and raise the head so that the database is behind."""
    body = card if isinstance(card, bytes) else msgspec.msgpack.encode(card)
    with transaction(service.engine) as connection:
        revision = continuity.marks(connection).assigned.revision + ahead
    where, field = redis_keys.location(key)
    value = redis_keys.pack(revision, body)
    if field is None:
        service.redis.set(where, value)
    else:
        service.redis.hset(where, field, value)
    raise_head(service, revision=revision)


def raise_head(service: Restorable, **marks: int) -> None:
    """Raise marks in the head."""
    value: Any = service.redis.hget(HEAD, "marks")
    present = msgspec.json.decode(value, type=Marks)
    service.redis.hset(HEAD, "marks", heads.encode(msgspec.structs.replace(present, **marks)))


def invented(service: Restorable, **changes: Any) -> BatchCard:
    """A compact batch above all numbers, with keys that the attacker knows."""
    with transaction(service.engine) as connection:
        number = continuity.marks(connection).assigned.batch + 3
    card = BatchCard(number, gtin(1), "compact", 1000, KNOWN_KEY, KNOWN_KEY, activated_at=1_790_000_000)
    return msgspec.structs.replace(card, **changes)


def outcome(report: RecoveryReport, number: int) -> str:
    """What became of a batch."""
    return {one.number: one.outcome for one in report.batches}[number]


def items(service: Restorable) -> list[WaitingItem]:
    """What waits for a person."""
    with transaction(service.engine) as connection:
        return waiting.listing(connection, datetime.now(UTC))


def latest(service: Restorable, scope: Scope, target: str) -> StatusChange:
    """The newest decision about a target, as everybody reads it."""
    return status_service.history(service.engine, scope, target, OPERATOR)[-1]


def shown_standing(service: Restorable, number: int, index: int) -> Standing | None:
    """The decision that a scan shows."""
    return item_verdict(in_redis(service.redis), number, index, datetime.now(UTC)).standing


@pytest.mark.parametrize("level", ["compact", "item", "product", "lot"])
@pytest.mark.parametrize("issued", [False, True])
def test_a_batch_that_only_redis_has_is_not_entered(service: Restorable, level: str, issued: bool) -> None:
    """Reserved or issued, of every level: the worker would issue it with keys that the attacker knows."""
    key_id = service.house.keyring.key_for_new_batch(datetime.now(UTC))
    assert key_id is not None
    card = invented(
        service, level=level, check_key=KNOWN_KEY if level == "compact" else b"", lot="L-1" if level == "lot" else "",
        key_id=key_id.id if issued and level != "compact" else "", activated_at=1_790_000_000 if issued else 0,
    )  # fmt: skip
    write(service, batch_key(card.number), card)
    assert outcome(service.recover(), card.number) == "unproven"
    assert service.batch(card.number) is None
    with transaction(service.engine) as connection:
        reserved_ones = [one for one in batches.listing(connection, OPERATOR, None, 200) if one.number == card.number]
    assert reserved_ones == []
    if level in {"compact", "item"}:
        assert service.verdict(card.number, 5) is Verdict.UNCONFIRMED
    with pytest.raises((Conflict, NotFound)):
        settling.confirm(service.setting, [f"record:{card.number}"])


def test_a_plain_file_with_codes_of_the_attacker_proves_nothing(service: Restorable) -> None:
    """Its codes are right for the card. It is not encrypted with a key of this installation."""
    card = invented(service)
    permutation, rows = Permutation(card.permutation_key), ["url,gtin,lot,serial,production_date,expiry_date"]
    for index in range(card.quantity):
        serial = Serial(card.number, permutation.slot(index))
        text = f"{serial.text}{check_text(card, serial)}"
        rows.append(f"https://zpm.example/01/{card.gtin}/21/{text},{card.gtin},,{text},,")
    path = service.checked.file(1).with_name(f"batch-{card.number}.csv")
    path.write_bytes("".join(f"{row}\r\n" for row in rows).encode("ascii"))
    assert parse(rows[1].split(",")[0].removeprefix("https://zpm.example")).identity.check is not None
    write(service, batch_key(card.number), card)
    assert outcome(service.recover(), card.number) == "unproven"


def check_text(card: BatchCard, serial: Serial) -> str:
    """The check of a compact code under the attacker's key."""
    from zpcode.wire.base32 import serial_text  # noqa: PLC0415
    from zpcode.wire.payload import CHECK_LENGTH  # noqa: PLC0415

    return serial_text(check_of(card.check_key, card.gtin, serial), CHECK_LENGTH)


def test_a_former_card_that_somebody_replaced_makes_no_genuine_code_look_forged(service: Restorable) -> None:
    """The true keys are lost with the record; under the attacker's keys the genuine codes would fail."""
    dumped = restores.dump(service.addresses)
    lost = service.issue(Level.COMPACT, "after")
    service.checked.file(lost.number).unlink()
    restores.restore(service.addresses, dumped)
    write(service, batch_key(lost.number), invented(service, number=lost.number, quantity=1))
    service.recover()
    body = in_redis(service.redis)(batch_key(lost.number))
    assert body is not None
    card = msgspec.msgpack.decode(body, type=BatchCard)
    assert (card.lost, card.check_key, card.expiry_date, card.activated_at) == (True, b"", "", 0)
    assert service.verdict(lost.number, 3) is Verdict.UNCONFIRMED


@pytest.mark.parametrize(
    ("scope", "target", "key"),
    [
        (Scope.PRODUCT, gtin(1), standing_key(Scope.PRODUCT, gtin(1))),
        (Scope.ENTERPRISE, uscc(1), standing_key(Scope.ENTERPRISE, uscc(1))),
        (Scope.CODE, "item:3", ""),
    ],
)
def test_a_forged_decision_protects_and_speaks_for_nobody(
    service: Restorable, scope: Scope, target: str, key: str
) -> None:
    """No text, no notice and no office that only Redis names is shown, listed or sent, until a person has confirmed it."""
    number = service.checked.item
    target, key = target.replace("item", str(number)), key or item_key(number, 3)
    write(service, key, Timeline((REVOKED,)))
    report = service.recover()
    assert [(one.change.scope, one.change.target) for one in report.decisions] == [(scope, target)]
    assert service.verdict(number, 3) is Verdict.REVOKED
    for shown in (shown_standing(service, number, 3), in_database(service.engine)(key)):
        assert SLANDER.zh not in str(shown)
        assert "99号" not in str(shown)
        assert PROVINCE_OFFICE.zh not in str(shown)
    change = latest(service, scope, target)
    assert (change.actor, change.authority, change.notice, change.note) == (Actor.RECOVERY, UNCONFIRMED_AUTHORITY, "", Bilingual())  # fmt: skip
    assert status_service.notices(service.engine, change.id - 1, 50) == []
    with pytest.raises(Forbidden, match="zpcode recover"):
        service.decide(scope, target, Action.RESTORE)
    (entry,) = [one for one in audit.show(service.engine, object_=f"{scope}:{target}") if "recovered" in one.detail]
    assert entry.detail["recovered"]["claim"]["notice"] == REVOKED.notice
    assert entry.detail["recovered"]["card"] == key
    assert [finding.where for finding in service.checked.of("continuity").findings] == [f"{scope}:{target}"]
    assert service.checked.of("continuity").findings[0].reason == UNCONFIRMED


def test_a_rejected_decision_leaves_what_was_decided_before(service: Restorable) -> None:
    """The forged one replaced none: the city's flag is in force again, in the city's words."""
    target, now = str(service.checked.item), datetime.now(UTC)
    status_service.change_and_project(service.engine, service.redis, ask(Scope.BATCH, target, Action.FLAG), caller=CITY, now=now)  # fmt: skip
    before = service.verdict(service.checked.item, 50)
    body = in_redis(service.redis)(batch_key(service.checked.item))
    assert body is not None
    card = msgspec.msgpack.decode(body, type=BatchCard)
    write(service, batch_key(service.checked.item), msgspec.structs.replace(card, timeline=Timeline((REVOKED,))))
    service.recover()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    settling.reject(service.setting, [f"batch:{target}"])
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is before is Verdict.FLAGGED
    assert items(service) == []
    assert service.checked.of("continuity").findings == []


def test_a_confirmed_decision_is_the_offices_again(service: Restorable) -> None:
    """With its text, its notice and its time; the office may lift it then."""
    target = str(service.checked.item)
    dumped = restores.dump(service.addresses)
    now = datetime.now(UTC)
    asked = ask(Scope.BATCH, target, Action.REVOKE, notice="杭市监1号", note=Bilingual("请勿使用", "do not use"))
    status_service.change_and_project(service.engine, service.redis, asked, caller=CITY, now=now)
    true = shown_standing(service, service.checked.item, 50)
    restores.restore(service.addresses, dumped)
    service.recover()
    assert shown_standing(service, service.checked.item, 50) != true
    service.confirm_all()
    assert shown_standing(service, service.checked.item, 50) == true
    assert latest(service, Scope.BATCH, target).actor is Actor.CITY
    assert status_service.notices(service.engine, 0, 50)[-1].notice == "杭市监1号"
    restored = ask(Scope.BATCH, target, Action.RESTORE)
    status_service.change_and_project(service.engine, service.redis, restored, caller=CITY, now=datetime.now(UTC))
    assert service.verdict(service.checked.item, 50) is Verdict.VERIFIED


def test_a_decision_to_come_is_held_and_confirmed_or_rejected_with_its_time(service: Restorable) -> None:
    """Not yet confirmed, it takes effect at its time; rejected, it never does."""
    coming = msgspec.structs.replace(REVOKED, effective_at=int(datetime.now(UTC).timestamp()) + 3600, begun=False)
    key, later = standing_key(Scope.PRODUCT, gtin(1)), datetime.fromtimestamp(coming.effective_at + 1, UTC)
    write(service, key, Timeline((coming,)))
    service.recover()

    def verdict() -> Verdict:
        return item_verdict(in_redis(service.redis), service.checked.item, 50, later).verdict

    assert service.verdict(service.checked.item, 50) is Verdict.VERIFIED
    assert verdict() is Verdict.REVOKED
    settling.reject(service.setting, [f"product:{gtin(1)}"])
    projector.catch_up(service.engine, service.redis)
    assert verdict() is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("changes", "confirmable"),
    [
        ({"note": Bilingual("x" * 100_000)}, True),
        ({"note": Bilingual("好\u202e坏")}, True),
        ({"notice": "\x1b[2J"}, True),
        ({"reason": "no-such-reason"}, False),
        ({"decided_by": Bilingual("伪造的局\x1b[2J")}, False),
        ({"decided_by": office_of("330106")}, False),
    ],
    ids=["too long", "turned text", "escape", "unknown reason", "unknown office", "an office that may not"],
)
def test_a_text_that_no_decision_has_is_not_kept_and_a_decision_that_nobody_could_make_not_confirmed(
    service: Restorable, changes: dict[str, Any], *, confirmable: bool
) -> None:
    """The code stays revoked until the operator decides anew and rejects the claim."""
    standing = msgspec.structs.replace(REVOKED, **changes)
    write(service, standing_key(Scope.PRODUCT, gtin(1)), Timeline((standing,)))
    service.recover()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    (item,) = items(service)
    shown = f"{item.text.zh}{item.text.en}"
    assert len(shown) < 2000
    assert [part for part in ("\x1b", "\u202e", "xxx", "伪造") if part in shown] == []
    assert (item.confirmable, "cannot be confirmed as it is" in item.text.en) == (confirmable, not confirmable)
    if not confirmable:
        with pytest.raises(Conflict, match="decide anew"):
            settling.confirm(service.setting, [item.name])
    assert status_service.feed(service.engine, 0, 200, OPERATOR)


def test_cards_that_cannot_be_ours_stop_nothing(service: Restorable) -> None:
    """Junk in every field: the recovery lists it, enters the rest and ends."""
    number = service.checked.item
    body = in_redis(service.redis)(batch_key(number))
    assert body is not None
    card = msgspec.msgpack.decode(body, type=BatchCard)
    junk = RangeLayer("city", (REVOKED,), (RangeEntry(5, 2, 0, 0),))
    far = msgspec.structs.replace(REVOKED, effective_at=2**60)
    wrong: dict[str, Any] = {
        batch_key(number): msgspec.structs.replace(card, ranges=(msgspec.structs.replace(junk, current=(RangeEntry(0, 9, 7, 0),)),)),
        batch_key(number + 90): invented(service, number=number + 90, production_date="yesterday"),
        batch_key(number + 91): invented(service, number=number + 91, level="none"),
        batch_key(number + 92): invented(service, number=number + 92, ranges=(junk,)),
        batch_key(number + 93): invented(service, number=number + 94),
        item_key(number, 7): Timeline((far,)),
        item_key(MAX_BATCH, 7): Timeline((REVOKED,)),
        f"x:{number}:-1": Timeline((REVOKED,)),
        standing_key(Scope.ENTERPRISE, "x" * 3000): Timeline((REVOKED,)),
        standing_key(Scope.LOT, "no lot"): Timeline((REVOKED,)),
        "s:none:1": Timeline((REVOKED,)),
    }  # fmt: skip
    for key, value in wrong.items():
        write(service, key, value)
    write(service, standing_key(Scope.PRODUCT, gtin(1)), Timeline((REVOKED,)))
    report = service.recover()
    assert [one.change.target for one in report.decisions] == [gtin(1)]
    assert set(wrong) <= set(report.unproven)
    assert audit.verify(service.engine).whole


def test_an_activation_that_only_redis_shows_waits(service: Restorable) -> None:
    """Stolen labels of a batch that was never activated do not become valid."""
    with service.house.client() as signer:
        from zpcode.services.batches import issue  # noqa: PLC0415

        number = manual(service)
        issue.issue(service.engine, signer, number, folder=service.checked.context.exports, clock=lambda: datetime.now(UTC))  # fmt: skip
    projector.catch_up(service.engine, service.redis)
    body = in_redis(service.redis)(batch_key(number))
    assert body is not None
    card = msgspec.structs.replace(msgspec.msgpack.decode(body, type=BatchCard), activated_at=1_790_000_000)
    write(service, batch_key(number), card)
    service.recover()
    assert service.verdict(number, 3) is Verdict.NOT_ACTIVATED
    assert [item.name for item in items(service)] == [f"activation:{number}"]
    settling.confirm(service.setting, [f"activation:{number}"])
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(number, 3) is Verdict.VERIFIED
    assert items(service) == []


def manual(service: Restorable) -> int:
    """Reserve a batch that its enterprise activates later."""
    from zpcode.rules.batches.batch import Activation, BatchRequest  # noqa: PLC0415
    from zpcode.services.batches import reserve  # noqa: PLC0415

    request = BatchRequest(Level.COMPACT, gtin(1), 100, activation=Activation.MANUAL)
    return reserve.reserve(
        service.engine, request, caller=MAKER, idempotency_key="manual", base="https://zpm.example", now=datetime.now(UTC)
    ).number  # fmt: skip


def test_a_product_page_is_never_what_only_redis_says(service: Restorable) -> None:
    """A forged card of a known product changes no text and prolongs no recognition; one of an unknown product has no text."""
    body = in_redis(service.redis)(product_key(gtin(1)))
    assert body is not None
    card = msgspec.msgpack.decode(body, type=ProductCard)
    assert card.recognition is not None
    prolonged = msgspec.structs.replace(card.recognition, valid_to="2999-12-31", old_stock="valid")
    write(service, product_key(gtin(1)), msgspec.structs.replace(card, name=SLANDER, recognition=prolonged))
    unknown = msgspec.structs.replace(card, gtin=gtin(7), name=SLANDER)
    write(service, product_key(gtin(7)), unknown)
    report = service.recover()
    assert set(report.kept) == {product_key(gtin(1)), product_key(gtin(7))}
    for number in (1, 7):
        body = in_redis(service.redis)(product_key(gtin(number)))
        assert body is not None
        assert SLANDER.zh.encode() not in body
    body = in_redis(service.redis)(product_key(gtin(1)))
    assert body is not None
    assert msgspec.msgpack.decode(body, type=ProductCard) == card


def test_what_is_applied_is_what_was_read(service: Restorable) -> None:
    """Redis is changed between the look and the command: nothing is done, and no number is used up."""
    write(service, standing_key(Scope.PRODUCT, gtin(1)), Timeline((REVOKED,)))
    digest = recover(service.setting).digest
    assert recover(service.setting).digest == digest
    write(service, standing_key(Scope.ENTERPRISE, uscc(1)), Timeline((REVOKED,)), ahead=2000)
    raise_head(service, batch=300)
    with transaction(service.engine) as connection:
        before = continuity.marks(connection)
    with pytest.raises(Conflict, match="is not what was shown"):
        recover(service.setting, agreed=digest)
    with transaction(service.engine) as connection:
        after = continuity.marks(connection)
    assert (after.reached, after.assigned.batch) == (before.reached, before.assigned.batch)
    assert agreed(service.setting).decisions


def test_a_list_that_has_changed_is_not_confirmed(service: Restorable) -> None:
    """The digest is that of the list that a person has read."""
    write(service, standing_key(Scope.PRODUCT, gtin(1)), Timeline((REVOKED,)))
    service.recover()
    digest = waiting.digest_of(items(service))
    write(service, standing_key(Scope.ENTERPRISE, uscc(1)), Timeline((REVOKED,)))
    service.recover()
    with pytest.raises(Conflict, match="read it again"):
        settling.confirm_all(service.setting, digest)
    assert len(items(service)) == 2
