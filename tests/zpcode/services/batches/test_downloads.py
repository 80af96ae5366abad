"""Fetching codes is recorded by few entries, also if many parts are fetched at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sqlalchemy import Engine, text

from tests.support import issuing_setting as setting
from tests.support.issuing_setting import MAKER, NOW
from tests.support.patience import eventually
from zpcode.services.batches import downloads, reserve
from zpcode.services.batches.downloads import record
from zpcode.store import audit
from zpcode.store.database.session import transaction

PARTS = 4


def test_parts_that_are_fetched_at_once_add_two_entries(engine: Engine) -> None:
    """All begin before one of them is recorded."""
    setting.register(engine, setting.product_card())
    batch = replace(reserve.get(engine, setting.reserved(engine), MAKER), bytes=1000 * PARTS, sha256="0" * 64)
    with ThreadPoolExecutor(PARTS) as threads:
        with transaction(engine) as connection:
            audit.lock(connection)
            running = [
                threads.submit(record, engine, batch, 1000 * part, 1000 * part + 999, "", caller=MAKER, now=NOW)
                for part in range(PARTS)
            ]
            eventually(lambda: _waiting(engine) == PARTS)
        for one in running:
            one.result()
    with transaction(engine) as connection:
        entries = audit.of_actor(
            connection, f"batch:{batch.number}", downloads.ACTION, MAKER.name, NOW - downloads.COVERED
        )
        assert [(entry.detail["last"] - entry.detail["first"]) for entry in entries] == [999, 1000 * PARTS - 1]


def _waiting(engine: Engine) -> int:
    with transaction(engine) as connection:
        waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE NOT granted AND datname = current_database()"
        return int(connection.execute(text(waiting)).scalar_one())
