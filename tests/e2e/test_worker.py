"""The worker as a process: it issues reserved batches, projects and drains, and can be stopped or killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, func, select, text

from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder, content
from tests.support.issuing_fixtures import own_house as house
from tests.support.issuing_fixtures import registered
from tests.support.issuing_setting import GTIN, MAKER, KeyHouse
from zpcode import worker
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Text, Unavailable
from zpcode.projection import client
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, reserve
from zpcode.services.batches import queue as jobs
from zpcode.services.batches.rewrite import request_file
from zpcode.store import batches as store
from zpcode.store.database.session import transaction
from zpcode.store.tables.codes import card, scan
from zpcode.wire import redis_keys
from zpcode.wire.scan_event import ScanEvent, encode

__all__ = ["house", "registered"]

_PROGRAM = "from zpcode import settings, worker; worker.main(settings.load())"


@contextmanager
def _running(addresses: ServerAddresses, house: KeyHouse, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; ended at the end of the block if it still runs."""
    environment = os.environ | {
        "ZPCODE_DATABASE_URL": addresses.database,
        "ZPCODE_REDIS_URL": addresses.redis,
        "ZPCODE_SIGNER_SOCKET": str(house.socket),
        "ZPCODE_EXPORT_DIR": str(directory),
        "ZPCODE_FILE_KEY": str(code_folder(directory).key_file),
    }
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that the worker does; the test's time limit ends the wait."""
    while not condition():
        assert process.poll() is None, "the worker ended"
        time.sleep(0.05)


def _issued(engine: Engine, number: int) -> bool:
    return reserve.get(engine, number, MAKER).state is BatchState.ISSUED


def test_a_batch_that_nobody_asked_for_is_found_issued_and_shown(
    engine: Engine, redis: Redis, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """The process died between reservation and job: the worker finds the batch, and Redis has the same card as the table."""
    number = setting.reserved(engine)
    with _running(addresses, house, tmp_path) as process:
        _until(lambda: _issued(engine, number), process)
        batch = reserve.get(engine, number, MAKER)
        assert code_file.verify(batch, code_folder(tmp_path))
        _until(lambda: _as_in_the_table(engine, redis), process)
        _until(lambda: len(list(redis.scan_iter("zp:{salts}:*"))) == 2, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_the_worker_listens_to_no_channel(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """PostgreSQL lets every role NOTIFY any channel, and a payload that is no JSON ends the listener of the job queue."""
    number = setting.reserved(engine)
    listening = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'listen%'"
    )
    with _running(addresses, house, tmp_path) as process:
        _until(lambda: _issued(engine, number), process)
        with transaction(engine) as connection:
            assert connection.execute(listening).scalar_one() == 0


def _as_in_the_table(engine: Engine, redis: Redis) -> bool:
    with transaction(engine) as connection:
        rows = connection.execute(select(card.c.key, card.c.revision, card.c.body)).all()
    values = [redis.get(redis_keys.location(row.key)[0]) for row in rows]
    return values == [redis_keys.pack(row.revision, bytes(row.body)) for row in rows]


def test_scans_and_cards_are_moved_while_it_runs(
    engine: Engine, redis: Redis, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """Also after Redis was emptied."""
    now = int(time.time() * 1000)
    event = ScanEvent(now, GTIN, "", None, None, "verified", "", "", b"", "zh", "browser")
    with _running(addresses, house, tmp_path) as process:
        _until(lambda: redis.exists(redis_keys.HEAD), process)
        redis.flushall()
        _until(lambda: redis.exists(redis_keys.HEAD), process)
        redis.rpush(redis_keys.INBOX, encode([event]))
        _until(lambda: not redis.exists(redis_keys.INBOX) and redis.xlen(redis_keys.SCANS) == 0, process)
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(scan)).scalar_one() == 1
        partition = connection.execute(text("SELECT tableoid::regclass::text FROM scan")).scalar_one()
    assert partition != "scan_default"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.proof
def test_a_batch_is_finished_by_the_next_worker(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path, how: signal.Signals
) -> None:
    """After SIGTERM a worker ends after its chunk, after SIGKILL at once; the next worker completes the file."""
    number = setting.reserved(engine, quantity=30 * code_file.CHUNK)
    waiting = reserve.get(engine, number, MAKER)
    with _running(addresses, house, tmp_path) as process:
        _until(lambda: _begun(engine, number, tmp_path) > 2 * code_file.CHUNK, process)
        process.send_signal(how)
        assert process.wait() == (0 if how is signal.SIGTERM else -how)
    written = _begun(engine, number, tmp_path)
    assert 2 * code_file.CHUNK < written < waiting.quantity
    with _running(addresses, house, tmp_path) as process:
        _until(lambda: _issued(engine, number), process)
    assert code_file.verify(reserve.get(engine, number, MAKER), code_folder(tmp_path))


def _begun(engine: Engine, number: int, directory: Path) -> int:
    return code_file.progress(code_folder(directory), reserve.get(engine, number, MAKER))


def test_a_batch_is_queued_once_however_often_it_is_asked_for(engine: Engine, addresses: ServerAddresses) -> None:
    """The queueing lock has the number of the batch."""
    number = setting.reserved(engine)
    with jobs.IssueQueue(addresses.database) as queue:
        assert [queue.defer_issue(number) for _ in range(3)] == [True, True, True]
    with transaction(engine) as connection:
        jobs_ = connection.execute(text("SELECT task_name, queue_name, args FROM procrastinate_jobs")).all()
    assert [(job.task_name, job.queue_name, job.args) for job in jobs_] == [
        ("issue_batch", "issuing", {"number": number})
    ]


def test_a_queue_that_cannot_be_reached_is_no_error() -> None:
    """The batch is reserved; the worker queues it later."""
    with jobs.IssueQueue("postgresql://nobody@127.0.0.1:1/none") as queue:
        assert not queue.defer_issue(1)


def _worker(engine: Engine, addresses: ServerAddresses, house: KeyHouse, directory: Path) -> worker.Worker:
    return worker.Worker(
        addresses.database,
        engine,
        client.connect(addresses.redis),
        client.connect(addresses.redis),
        house.client(),
        jobs.IssueQueue(addresses.database),
        code_folder(directory),
    )


def test_the_worker_leaves_alone_what_is_being_issued(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """Whichever process issues it, also a command line."""
    mine, busy = setting.reserved(engine, "a"), setting.reserved(engine, "b")
    worker = _worker(engine, addresses, house, tmp_path)
    with store.issuing(engine, busy) as ours:
        assert ours
        assert worker.requeue_once() == 1
    assert worker.requeue_once() == 2
    worker.issue_once(mine)
    assert worker.requeue_once() == 1
    worker.queue.close()


def test_a_worker_removes_files_and_writes_them_again_on_request(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """The worker queues a requested file like a reserved batch; then its time begins anew."""
    number = setting.reserved(engine)
    worker = _worker(engine, addresses, house, tmp_path)
    worker.issue_once(number)
    batch = reserve.get(engine, number, MAKER)
    original = content(worker.exports, batch)
    with transaction(engine) as connection:
        store.change(connection, number, issued_at=batch.created_at - timedelta(days=100))
    worker.remove_files_once()
    assert worker.exports.finished(batch).exists(), "0 days: never"
    worker.code_file_days = 90
    worker.remove_files_once()
    assert not worker.exports.finished(batch).exists()
    assert worker.requeue_once() == 0
    request_file(engine, number, MAKER, datetime.now(UTC))
    assert worker.requeue_once() == 1
    worker.issue_once(number)
    worker.remove_files_once()
    assert worker.requeue_once() == 0
    assert content(worker.exports, batch) == original
    worker.queue.close()


def test_what_cannot_be_issued_now_is_no_failure(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """Without a signer, or if another process issues the batch, the job ends and the batch waits."""
    number = setting.reserved(engine)
    worker = _worker(engine, addresses, setting.KeyHouse(house.room, tmp_path / "nobody"), tmp_path)
    worker.issue_once(number)
    assert reserve.get(engine, number, MAKER).problem is not None
    with store.issuing(engine, number):
        worker.issue_once(number)
    waiting: Batch = reserve.get(engine, number, MAKER)
    assert waiting.state is BatchState.RESERVED


def test_trouble_in_one_step_does_not_end_it(
    engine: Engine, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path
) -> None:
    """After an outage and after an unexpected error the step runs again."""
    worker = _worker(engine, addresses, house, tmp_path)
    outcomes = iter([Unavailable(Text("停", "away")), Unavailable(Text("停", "away")), None])
    taken: list[object] = []

    def step() -> None:
        taken.append(outcome := next(outcomes))
        if outcome is not None:
            raise outcome
        worker.stop.set()

    worker.repeat(step, 0.0)
    assert len(taken) == 3
