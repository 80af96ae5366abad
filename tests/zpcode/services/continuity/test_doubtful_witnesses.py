"""Witnesses that forgot, or say what cannot be: `zpcode recover` refuses, says why, and never dies in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import Engine, func, select

from tests.support import restores
from tests.support.recovery_setting import Restorable, agreed
from tests.support.status_setting import in_redis
from zpcode.cli.recover import lines
from zpcode.errors import Conflict, DatabaseBehind, Unavailable
from zpcode.projection import projector
from zpcode.rules.continuity import COUNTERS, HIGHEST_MARK, REACH_NUMBERS, BehindEvidence, Marks, damaged_mark
from zpcode.rules.status.decisions import Action
from zpcode.services import audit
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.recover import recover
from zpcode.services.continuity.refusals import PLAUSIBLE_ENTRIES, PLAUSIBLE_JUMP
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.store.tables.continuity import lost_batch
from zpcode.wire import redis_keys
from zpcode.wire.card import BatchCard, batch_key
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

HEAD: Final = "zp:{feed}:head"
KINDS: Final = (*COUNTERS, "audit", "recoveries")
NUMBERS: Final = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**70),
    st.sampled_from([MAX_BATCH, MAX_BATCH + 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**400]),
)


def _restored(service: Restorable) -> None:
    """Restore what was dumped before a revocation."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    restores.restore(service.addresses, dumped)


def _mark(redis: Redis, **changes: Any) -> None:
    """Write these marks over those in Redis's head."""
    value: Any = redis.hget(HEAD, "marks")
    redis.hset(HEAD, "marks", msgspec.json.encode(msgspec.json.decode(value) | changes))


def _recorded(engine: Engine) -> tuple[BehindEvidence, ...]:
    with transaction(engine) as connection:
        return continuity.marks(connection).evidence


def _record(engine: Engine, *evidence: BehindEvidence) -> None:
    with transaction(engine) as connection:
        continuity.record_behind(connection, evidence, datetime.now(UTC))


def test_an_empty_redis_is_a_witness_that_knows_nothing(service: Restorable) -> None:
    """The revoked batch would be good again: that takes an option, and the report says what may be missing."""
    _restored(service)
    before = audit.verify(service.engine).chain.count
    with transaction(service.engine) as connection:
        continuity.record_behind(connection, [BehindEvidence("redis", "audit", str(before + 1), str(before))], datetime.now(UTC))  # fmt: skip
    service.redis.flushall()
    for digest in (None, "0" * 32):
        with pytest.raises(Conflict, match="--without redis"):
            recover(service.setting, agreed=digest)
    report = service.recover(without=("redis",))
    assert report.uncertain_since is not None
    assert report.uncertain_entries == (before + 1, before + 1)
    text = "\n".join(lines(report))
    assert "may be missing and cannot be proven" in text
    assert f"entries {before + 1} to {before + 1} of the audit log are lost and may have" in text


def test_a_redis_that_knows_all_leaves_no_decision_uncertain(service: Restorable) -> None:
    """Then the report warns of nothing."""
    _restored(service)
    report = service.recover()
    assert report.decisions
    assert (report.uncertain_since, report.uncertain_entries) == (None, (1, 0))


def test_an_empty_redis_does_not_matter_where_the_database_is_not_behind(service: Restorable) -> None:
    """It is filled again."""
    service.redis.flushall()
    assert service.recover().evidence == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_head_stops_with_its_field_and_value_and_is_not_recorded(service: Restorable, kind: str) -> None:
    """It may be left out: then the cards of Redis still prove the decision that was lost."""
    _restored(service)
    _record(service.engine, BehindEvidence("restore", "restored", "2026-11-29T07:00:00+00:00", ""))
    before = _recorded(service.engine)
    _mark(service.redis, **{kind: 2**63 - 1})
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    assert f"{kind}={2**63 - 1}" in " ".join(one.text.en for one in gate.compare())
    assert _recorded(service.engine) == before
    with pytest.raises(Conflict, match=f"{kind}={2**63 - 1} cannot be"):
        recover(service.setting, agreed="0" * 32)
    report = agreed(replace(service.setting, without=("redis",)))
    assert [one.change.target for one in report.decisions] == [str(service.checked.item)]
    assert report.uncertain_since is not None
    with pytest.raises(DatabaseBehind, match=f"{kind}={2**63 - 1} cannot be"):
        projector.catch_up(service.engine, service.redis)
    service.redis.flushall()
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED


@pytest.mark.proof
def test_whatever_is_recorded_or_marked_a_recovery_ends_or_refuses(service: Restorable) -> None:
    """The whole range of int64 and beyond, in the recorded evidence and in the head."""
    dumped = restores.dump(service.addresses)
    head: Any = service.redis.hgetall(HEAD)

    @settings(max_examples=9, phases=[Phase.explicit, Phase.generate], deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        recorded=st.dictionaries(st.sampled_from(KINDS), NUMBERS, min_size=1),
        marked=st.dictionaries(st.sampled_from(KINDS), NUMBERS),
    )
    @example(recorded=dict.fromkeys(KINDS, 2**63 - 1), marked={})
    @example(recorded={"audit": HIGHEST_MARK}, marked=dict.fromkeys(KINDS, 2**63 - 1))
    @example(recorded={"batch": 5}, marked={"recoveries": 900, "revision": 2**40, "audit": 10**8})
    def prop(recorded: dict[str, int], marked: dict[str, int]) -> None:
        restores.restore(service.addresses, dumped)
        service.redis.hset(HEAD, mapping=head)
        _mark(service.redis, **marked)
        _record(service.engine, *(BehindEvidence("redis", kind, str(value), "0") for kind, value in recorded.items()))
        try:
            report = agreed(replace(service.setting, without=("redis",)))
        except Conflict as refused:
            (finding,) = refused.findings
            assert finding.reason in {"implausible-number", "implausible-entry"}
            return
        assert report.number
        assert _recorded(service.engine) == ()
        assert audit.verify(service.engine).whole

    prop()


def test_a_revision_of_any_length_in_the_head_is_damaged(service: Restorable) -> None:
    """Python refuses to read a number of so many digits; the head is read nevertheless."""
    service.redis.hset(HEAD, "revision", "9" * 5000)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    assert [one.kind for one in gate.compare()] == ["damaged"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("marks", b"\xff{"),
        ("marks", b'{"audit": "many"}'),
        ("marks", b'{"x": ' + b"[" * 100_000),
        ("revision", b"-1"),
        ("revision", None),
        ("generation", None),
        ("head", b"text"),
    ],
    ids=[
        "no text",
        "a number that is none",
        "too deep",
        "a revision that is none",
        "no revision",
        "no generation",
        "no hash",
    ],
)
def test_a_head_that_cannot_be_read_does_not_pass_for_one_that_is_not_ahead(
    service: Restorable, field: str, value: bytes | None
) -> None:
    """Its cards may still be those of a newer database. Nothing is written over it; it is named, and may be left out."""
    _restored(service)
    if field == "head":
        service.redis.set(HEAD, value or b"")
    elif value is None:
        service.redis.hdel(HEAD, field)
    else:
        service.redis.hset(HEAD, field, value)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    assert ("damaged", field) in [(one.kind, one.value.partition("=")[0]) for one in gate.compare()]
    broken = next(one for one in service.fsck(gate).outcomes if one.findings)
    assert broken.invariant.name == "continuity"
    assert "damaged" in [one.reason for one in broken.findings]
    with pytest.raises((DatabaseBehind, Unavailable)):
        projector.catch_up(service.engine, service.redis)
    with pytest.raises(Conflict, match=f"{field}.*--without redis"):
        recover(service.setting)
    _record(service.engine, BehindEvidence("restore", "restored", "2026-11-29T07:00:00+00:00", ""))
    report = agreed(replace(service.setting, without=("redis",)))
    assert [one.change.target for one in report.decisions] == [str(service.checked.item)]


def test_a_recovery_from_a_forged_card_and_head_leaves_a_revoked_batch_revoked(service: Restorable) -> None:
    """The card shows the batch as good, above the database's revision. After the recovery decisions are made again."""
    number = service.checked.item
    where = redis_keys.location(batch_key(number))[0]
    value: Any = service.redis.get(where)
    service.decide(Scope.BATCH, number, Action.REVOKE)
    with transaction(service.engine) as connection:
        forged = continuity.marks(connection).reached.revision + 5
    service.redis.set(where, redis_keys.pack(forged, redis_keys.unpack(value)[1]))
    _mark(service.redis, revision=forged)
    gate = ContinuityGate(service.engine, service.setting.witnesses)
    assert [one.kind for one in gate.compare()] == ["revision"]
    service.recover()
    assert gate.compare() == ()
    assert service.verdict(number, 50) is Verdict.REVOKED


def test_a_jump_of_batch_numbers_needs_a_confirmation_and_leaves_numbers(service: Restorable) -> None:
    """Refused, in the dry run as well; with `even_so` every number that is left out is recorded at once."""
    _restored(service)
    with transaction(service.engine) as connection:
        own = continuity.marks(connection).assigned.batch
    for above, even_so in ((own + PLAUSIBLE_JUMP + 1, False), (MAX_BATCH, False), (MAX_BATCH, True), (10**7, True)):
        for digest in (None, "0" * 32):
            with pytest.raises(Conflict, match="batch numbers would jump"):
                recover(replace(service.setting, above=above, even_so=even_so), agreed=digest)
    _mark(service.redis, batch=MAX_BATCH)
    with pytest.raises(Conflict, match="batch numbers would jump"):
        recover(service.setting, agreed="0" * 32)
    _mark(service.redis, batch=own)
    with transaction(service.engine) as connection:
        assert continuity.marks(connection).assigned.batch == own
    above = own + PLAUSIBLE_JUMP + 1
    shown = recover(replace(service.setting, above=above, even_so=True))
    report = service.recover(above=above, even_so=True)
    assert len(report.batches) == len(shown.batches) == above - own
    card = in_redis(service.redis)(batch_key(above))
    assert card is not None
    assert msgspec.msgpack.decode(card, type=BatchCard).lost
    with transaction(service.engine) as connection:
        assert connection.execute(select(func.count()).select_from(lost_batch)).scalar_one() == above - own


def test_a_jump_of_the_audit_log_beyond_the_signers_ceiling_needs_a_confirmation(service: Restorable) -> None:
    """The message says what to set at the signer first. All that is accepted can be entered."""
    _restored(service)
    with transaction(service.engine) as connection:
        own = continuity.marks(connection).assigned.audit
    _mark(service.redis, audit=own + PLAUSIBLE_ENTRIES + 1)
    with pytest.raises(Conflict, match=f"ZPCODE_SIGNER_HIGHEST_AUDIT_ENTRY of the signer to {own + 2_000_001}"):
        recover(service.setting)
    _mark(service.redis, audit=own + REACH_NUMBERS)
    service.recover(even_so=True)
    with transaction(service.engine) as connection:
        assert continuity.marks(connection).reached.audit > own + REACH_NUMBERS
    assert audit.verify(service.engine).whole


@pytest.mark.parametrize(
    ("marks", "wrong"),
    [
        (Marks(batch=MAX_BATCH), ""),
        (Marks(batch=MAX_BATCH + 1), f"batch={MAX_BATCH + 1}"),
        (Marks(audit=-1), "audit=-1"),
        (Marks(audit=1, audit_hash="ab" * 32), ""),
        (Marks(audit=1, audit_hash="ab"), "audit_hash=ab"),
        (Marks(recoveries=1000), ""),
        (Marks(recoveries=1001), "recoveries=1001"),
        (Marks(revision=2**40), ""),
        (Marks(revision=2**40 + 1), f"revision={2**40 + 1}"),
        (Marks(decision=10**8), ""),
        (Marks(decision=10**8 + 1), f"decision={10**8 + 1}"),
        (Marks(audit=10**8), ""),
        (Marks(audit=10**8 + 1), f"audit={10**8 + 1}"),
        (Marks(installation="x" * 65), "installation=" + "x" * 40),
    ],
)
def test_what_a_mark_can_be(marks: Marks, wrong: str) -> None:
    """A database has no marks beyond these, so a witness cannot have any either."""
    assert damaged_mark(marks, Marks()) == wrong
