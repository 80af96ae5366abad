"""What an import of a registry costs: the figures of "An import" in docs/performance.md.

    .venv/bin/python -m loadtests.bench.imports 1000

Imports this many made-up products (`loadtests/load/registry.py`) into an empty database on servers of its own, then the same
files again with nothing changed. Prints one line of JSON: seconds by the clock, and of processor time of this process. The
processor time of PostgreSQL is not in it. To compare revisions, run the file with each in turn, several times.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from loadtests.load.registry import files_for
from zpcode.embedded.servers import Servers
from zpcode.services.registry.importing import import_registry
from zpcode.store.database.session import connect, migrate_embedded


def main(products: int) -> dict[str, float]:
    """Import this many products twice; returns the seconds of each import."""
    with tempfile.TemporaryDirectory(prefix="zp-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o711)
        with Servers(home, durable=False) as servers:
            migrate_embedded(servers.addresses)
            engine = connect(servers.addresses.database, pool_size=2)
            files = list(files_for(products))
            figures = {
                f"{which}_{part}": seconds for which in ("new", "unchanged") for part, seconds in _import(engine, files)
            }
            engine.dispose()
    return {"products": products} | figures


def _import(engine: Engine, files: list[bytes]) -> list[tuple[str, float]]:
    """Import the files one after another; seconds by the clock and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    for data in files:
        import_registry(engine, data, actor="operator", now=datetime.now(UTC))
    return [
        ("seconds", round(time.perf_counter() - clock, 2)),
        ("processor_seconds", round(time.process_time() - processor, 2)),
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)) + "\n")
