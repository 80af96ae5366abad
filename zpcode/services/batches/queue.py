"""The queue of batches to issue: jobs in the same PostgreSQL (Procrastinate), so no other service is needed.

A job only says "issue batch N". A job may be lost or run twice without harm: a batch stays reserved until it is issued,
the worker queues reserved batches without a job again, and only one process at a time issues a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Final, Self

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from zpcode.store.database.session import OPTIONS, session_class

TASK: Final = "issue_batch"
QUEUE: Final = "issuing"


def job_app(database: str, issue_once: Callable[[int], None]) -> App:
    """The job queue as the worker reads it, with its only task: to issue a batch."""
    app = App(
        connector=PsycopgConnector(conninfo=database, min_size=1, max_size=4, timeout=3, kwargs={"options": OPTIONS})
    )

    @app.task(name=TASK, queue=QUEUE)
    def issue_batch(number: int) -> None:
        issue_once(number)

    return app


class IssueQueue:
    """The queue as services use it that reserve batches. A context manager; safe for many threads.

    `database` is a libpq URL. The first connection is opened with the first job.
    """

    def __init__(self, database: str) -> None:
        connector = SyncPsycopgConnector(
            conninfo=database,
            min_size=0,
            max_size=2,
            timeout=3,
            kwargs={"connect_timeout": 3, "options": OPTIONS},
            connection_class=session_class(database),
        )
        self._app = App(connector=connector)
        self._open = False
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._open:
            self._app.close()
            self._open = False

    def defer_issue(self, number: int) -> bool:
        """Queue a batch. Return False if the database cannot be reached; the worker's clean-up then queues it later."""
        try:
            self._ensure_open()
            job = self._app.configure_task(TASK, queue=QUEUE, queueing_lock=f"batch-{number}")
            job.defer(number=number)
        except AlreadyEnqueued:
            return True
        except ConnectorException:
            return False
        return True

    def _ensure_open(self) -> None:
        with self._opening:
            if not self._open:
                self._app.open()
                self._open = True
