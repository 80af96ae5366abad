"""A head in Redis that this installation has not written stops nothing and is replaced; true heads still stop a restored database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec
import pytest
from redis import Redis

from tests.support import restores
from tests.support.recovery_setting import Restorable, agreed
from zpcode.errors import Conflict, DatabaseBehind, Text, Unavailable
from zpcode.projection import client, head_keys, heads, projector
from zpcode.projection.comparison import ProjectionComparison
from zpcode.projection.head_keys import HeadKeys
from zpcode.rules.continuity import Marks
from zpcode.rules.head_key import HeadKey
from zpcode.rules.status.decisions import Action
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire.redis_keys import HEAD
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

FIRST: Final = b"\x01" * 32
SECOND: Final = b"\x02" * 32


@pytest.fixture
def keys(service: Restorable) -> HeadKeys:
    """The keys of a process that has written its heads with the first one."""
    return _started(service, FIRST)


def _started(service: Restorable, *secrets: bytes) -> HeadKeys:
    """The keys of a process that has just started and projects once."""
    new = _installed(service, *secrets)
    projector.catch_up(service.engine, service.redis)
    return new


def _installed(service: Restorable, *secrets: bytes) -> HeadKeys:
    def read() -> list[bytes]:
        if not secrets:
            raise Unavailable(Text("没有密钥", "there is no key"))
        return list(secrets)

    new = HeadKeys(read)
    new.install(service.engine)
    return new


def _gate(service: Restorable) -> ContinuityGate:
    new = ContinuityGate(service.engine, service.setting.witnesses)
    new.install()
    return new


def _marks(redis: Redis, **changes: Any) -> bytes:
    value: Any = redis.hget(HEAD, "marks")
    return msgspec.json.encode(msgspec.json.decode(value) | changes)


def _set(**fields: Any) -> Callable[[Redis], object]:
    mapping: Any = fields
    return lambda redis: redis.hset(HEAD, mapping=mapping)


def _raised(**changes: Any) -> Callable[[Redis], object]:
    return lambda redis: redis.hset(HEAD, "marks", _marks(redis, **changes))


def _of_another_type(redis: Redis) -> None:
    redis.delete(HEAD)
    redis.lpush(HEAD, "x")


def _without_code(redis: Redis) -> None:
    redis.hset(HEAD, "marks", _marks(redis, batch=10**6, audit=10**6))
    redis.hdel(HEAD, "code")


FORGERIES: Final[dict[str, Callable[[Redis], object]]] = {
    "marks that are higher": _raised(revision=10**6, batch=10**6, decision=10**6, audit=10**6, audit_hash="00" * 32),
    "marks without a code": _without_code,
    "marks of more recoveries": _raised(recoveries=3),
    "another hash of the newest entry": _raised(audit_hash="00" * 32),
    "a number that cannot be": _raised(batch=10**400),
    "marks that are no JSON": _set(marks=b"\xff"),
    "another installation": _raised(installation="another"),
    "a revision above its marks": _set(revision=10**6),
    "a revision that is none": _set(revision="x"),
    "a value of another type": _of_another_type,
}


def _recorded(service: Restorable) -> str:
    with transaction(service.engine) as connection:
        return continuity.marks(connection).head_key


def _proven(service: Restorable, *secrets: bytes) -> bool:
    """Whether the head is true under one of these keys."""
    (head,) = heads.of_layout(client.layout(service.redis))
    return head_keys.is_proven(head, [HeadKey.derived(secret) for secret in secrets])


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_head_stops_no_decision_and_is_replaced(
    service: Restorable, keys: HeadKeys, forge: Callable[[Redis], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Before, decisions answered 503 until somebody ran `zpcode recover`."""
    own = _gate(service)
    forge(service.redis)
    with caplog.at_level(logging.ERROR):
        assert own.compare() == ()
        assert own.compare() == ()
        ProjectionComparison(service.engine, service.redis, 60).step()
        service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    projector.catch_up(service.engine, service.redis)
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    assert _proven(service, FIRST)
    assert keys.forged == 1
    assert [one.message for one in caplog.records if "forged" in one.message] == [
        "a head in Redis is forged: it does not count and is replaced"
    ]
    assert service.recover().evidence == ()


def test_an_older_head_is_true_and_only_a_weaker_witness(service: Restorable, keys: HeadKeys) -> None:
    """As after a flush: it is brought up to date."""
    old: Any = service.redis.hgetall(HEAD)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    service.redis.hset(HEAD, mapping=old)
    assert _gate(service).compare() == ()
    projector.catch_up(service.engine, service.redis)
    assert service.redis.hgetall(HEAD) != old
    assert keys.forged == 0


def test_a_true_head_stops_a_restored_database(service: Restorable, keys: HeadKeys) -> None:
    """This is what heads are for."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    restores.restore(service.addresses, dumped)
    assert "revision" in {one.kind for one in _gate(service).compare()}
    with pytest.raises(DatabaseBehind):
        projector.catch_up(service.engine, service.redis)
    assert [one.change.target for one in service.recover().decisions] == [str(service.checked.item)]
    assert _gate(service).compare() == ()
    assert keys.forged == 0


def test_after_a_restore_in_which_the_key_was_lost_too_the_heads_still_stop_it(
    service: Restorable, keys: HeadKeys
) -> None:
    """Nobody can tell them from forgeries then, and no revoked code may become good. The recovery ends that."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    restores.restore(service.addresses, dumped)
    new = _installed(service, SECOND)
    assert _gate(service).compare()
    with pytest.raises(DatabaseBehind):
        projector.catch_up(service.engine, service.redis)
    service.recover()
    assert service.verdict(service.checked.item, 50) is Verdict.REVOKED
    assert _recorded(service) == HeadKey.derived(SECOND).fingerprint
    assert _proven(service, SECOND)
    _raised(batch=10**6)(service.redis)
    assert _gate(service).compare() == ()
    assert (keys.forged, new.forged) == (0, 1)


def test_a_key_that_was_lost_alone_is_replaced_without_a_recovery(service: Restorable, keys: HeadKeys) -> None:
    """The old heads say nothing that the database does not know."""
    assert keys.forged == 0
    assert _started(service, SECOND).forged == 0
    assert _recorded(service) == HeadKey.derived(SECOND).fingerprint
    assert _proven(service, SECOND)


def test_heads_of_the_version_before_count_until_the_first_own_ones(service: Restorable) -> None:
    """Then their form is a forgery."""
    _raised(audit=10**6)(service.redis)
    _installed(service, FIRST)
    with pytest.raises(DatabaseBehind):
        projector.catch_up(service.engine, service.redis)
    _raised(audit=1, audit_hash="")(service.redis)
    projector.catch_up(service.engine, service.redis)
    assert _recorded(service) == HeadKey.derived(FIRST).fingerprint
    _without_code(service.redis)
    assert _gate(service).compare() == ()


def test_a_new_key_before_the_old_one_changes_the_heads_and_is_no_forgery(service: Restorable, keys: HeadKeys) -> None:
    """As `zpcode batches encrypt` has it. Afterwards the old key is not needed any more."""
    assert keys.forged == 0
    both = _started(service, SECOND, FIRST)
    assert _recorded(service) == HeadKey.derived(SECOND).fingerprint
    assert not _proven(service, FIRST)
    only = _started(service, SECOND)
    assert (both.forged, only.forged) == (0, 0)


def test_a_process_without_the_key_file_says_so_before_it_writes(service: Restorable, keys: HeadKeys) -> None:
    """Its head has no code. If a database of before that were restored, that head must count."""
    _started(service)
    service.decide(Scope.BATCH, service.checked.item, Action.FLAG)
    assert _recorded(service) == ""
    assert not _proven(service, FIRST)
    keys.install(service.engine)
    assert _gate(service).compare() == ()
    projector.catch_up(service.engine, service.redis)
    assert _recorded(service) == HeadKey.derived(FIRST).fingerprint
    assert keys.forged == 0


def test_a_process_that_starts_at_the_redis_of_another_installation_does_not_overwrite_it(
    service: Restorable, keys: HeadKeys
) -> None:
    """Its address may be wrong. A process that has met its own head there knows better."""
    foreign = heads.encode(Marks(installation="another", revision=10**6))
    service.redis.hset(HEAD, mapping={"marks": foreign, "code": HeadKey.derived(SECOND).code(foreign)})
    started = _installed(service, FIRST)
    with pytest.raises(DatabaseBehind, match="another installation"):
        projector.catch_up(service.engine, service.redis)
    assert (keys.forged, started.forged) == (0, 0)


def test_a_forged_head_over_a_restored_database_is_like_an_empty_redis(service: Restorable, keys: HeadKeys) -> None:
    """The recovery does not go on by itself: the witness may have known more."""
    dumped = restores.dump(service.addresses)
    service.decide(Scope.BATCH, service.checked.item, Action.REVOKE)
    restores.restore(service.addresses, dumped)
    assert _gate(service).compare()
    _raised(batch=10**6)(service.redis)
    with pytest.raises(Conflict, match="forged head"):
        agreed(service.setting)
    report = agreed(replace(service.setting, without=("redis",)))
    assert [one.change.target for one in report.decisions] == [str(service.checked.item)]
    assert keys.forged == 1
