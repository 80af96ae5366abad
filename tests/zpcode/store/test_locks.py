"""Advisory locks: all numbers are in one module, each once."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from tests.support.patience import eventually
from zpcode.store import locks
from zpcode.store.locks import Lock


def test_every_number_is_used_once() -> None:
    assert len({lock.value for lock in Lock}) == len(Lock.__members__) >= 9


def test_a_lock_is_waited_for_and_ends_with_its_transaction(engine: Engine) -> None:
    """Meanwhile another object of the same class is free."""
    order: list[str] = []

    def second() -> None:
        with engine.begin() as connection:
            order.append("waits")
            locks.hold(connection, Lock.LIKENESS, -7)
            order.append("second")

    waiting = threading.Thread(target=second)
    with engine.begin() as connection:
        locks.hold(connection, Lock.LIKENESS, -7)
        waiting.start()
        eventually(lambda: order == ["waits"])
        with engine.begin() as other:
            locks.hold(other, Lock.LIKENESS, 8)
        order.append("first")
    waiting.join(10)
    assert order == ["waits", "first", "second"]


def test_a_session_lock_is_seen_and_released(engine: Engine) -> None:
    with engine.connect() as mine, engine.connect() as other:
        assert locks.try_session(mine, Lock.ISSUING, 5)
        assert not locks.try_session(other, Lock.ISSUING, 5)
        assert locks.objects_in_use(other, Lock.ISSUING) == {5}
        locks.release_session(mine, Lock.ISSUING, 5)
        assert locks.objects_in_use(other, Lock.ISSUING) == set()
