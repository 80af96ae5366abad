"""A process that issues one batch: `python -m tests.e2e.issue_process DATABASE SOCKET DIRECTORY NUMBER`.

It prints how many codes are written after each chunk, so that a test can kill it in the middle.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from keys.client import SignerClient
from zpcode.services.issuing import issue
from zpcode.store.session import connect


def main() -> None:
    """Issue, and say how far it has come."""
    database, socket, directory, number = sys.argv[1:]

    def told(done: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()

    engine = connect(database, pool_size=2)
    signer = SignerClient(Path(socket))
    told(0)
    issue(engine, signer, int(number), directory=Path(directory), clock=lambda: datetime.now(UTC), progress=told)


if __name__ == "__main__":
    main()
