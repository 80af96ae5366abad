"""Rows that the authority's role puts into the job queue past the services: the table takes only "issue batch N"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from keys.client import SignerClient
from tests.support.code_folders import code_folder
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.batches.queue import QUEUE, TASK, IssueQueue
from zpcode.worker import Worker

RIGHT: dict[str, Any] = {"queue_name": QUEUE, "task_name": TASK, "args": {"number": 7}}
FORGED: dict[str, dict[str, Any]] = {
    "an unknown task": {"task_name": "os.system"},
    "another queue": {"queue_name": "other"},
    "no arguments": {"args": {}},
    "arguments that are no object": {"args": 5},
    "a list of arguments": {"args": [7]},
    "null": {"args": None},
    "a text for a number": {"args": {"number": "7"}},
    "a fraction": {"args": {"number": 7.5}},
    "a number below one": {"args": {"number": 0}},
    "a negative number": {"args": {"number": -7}},
    "a huge number": {"args": {"number": 10**30}},
    "one argument more": {"args": {"number": 7, "more": 1}},
    "huge arguments": {"args": {"number": 7, "more": "x" * 1_000_000}},
    "the lock of another batch": {"queueing_lock": "batch-8"},
    "a long lock": {"lock": "x" * 101},
    "a priority": {"priority": 1},
    "as many attempts as there are": {"attempts": 2**31 - 1},
    "a later time": {"scheduled_at": "2999-01-01"},
}


def insert(engine: Engine, row: dict[str, Any]) -> None:
    """Add a row to the queue with the role of the authority."""
    values = row | {"args": json.dumps(row["args"])}
    with engine.begin() as connection:
        columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        statement = f"INSERT INTO procrastinate_jobs ({columns}) VALUES ({places})"  # noqa: S608 - names of this test
        connection.execute(text(statement.replace(":args", "CAST(:args AS jsonb)")), values)


@pytest.mark.parametrize("name", list(FORGED))
def test_the_queue_takes_nothing_else(engine: Engine, name: str) -> None:
    with pytest.raises(DBAPIError, match=r"only_issuing|out of range|null value"):
        insert(engine, RIGHT | FORGED[name])
    insert(engine, RIGHT)
    with pytest.raises(DBAPIError, match="only_issuing"), engine.begin() as connection:
        connection.execute(text("UPDATE procrastinate_jobs SET task_name = 'os.system'"))


def test_the_role_cannot_take_the_constraint_away(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="must be owner"), engine.begin() as connection:
        connection.execute(text("ALTER TABLE procrastinate_jobs DROP CONSTRAINT only_issuing"))


def test_what_the_services_queue_is_taken(engine: Engine, addresses: ServerAddresses) -> None:
    with IssueQueue(addresses.database) as queue:
        assert queue.defer_issue(1)
        assert queue.defer_issue(67_108_863)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 2


def test_a_job_of_a_batch_that_does_not_exist_costs_one_line(
    engine: Engine, redis: Redis, addresses: ServerAddresses, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue, signer = IssueQueue(addresses.database), SignerClient(tmp_path / "nobody")
    worker = Worker(addresses.database, engine, redis, redis, signer, queue, code_folder(tmp_path))
    worker.issue_once(777)
    (line,) = caplog.records
    assert (line.levelname, line.exc_info) == ("WARNING", None)
