"""A small installation to back up: its own servers, a keyring, pictures, and commits that can be told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from tests.support import issuing_setting as setting
from tests.support.clock import NOW
from tests.support.folders import in_memory
from tests.support.patience import eventually
from zpcode.embedded.servers import Servers
from zpcode.errors import Text
from zpcode.rules.continuity import BehindEvidence
from zpcode.services.backups import make
from zpcode.services.backups.files import Originals
from zpcode.services.backups.folder import Backup, BackupFolder
from zpcode.services.backups.make import Announce, BackupSource
from zpcode.services.pictures.storage import PictureStorage
from zpcode.store import audit, backups, continuity
from zpcode.store.database.session import connect, migrate_embedded, transaction

_RECEIVED = """
    SELECT count(*) FROM pg_stat_replication
    WHERE application_name = 'pg_receivewal' AND flush_lsn >= pg_current_wal_lsn()
"""


def quiet(_: Text) -> None:
    """Announce nothing."""


@dataclass
class BackedUp:
    """The installation in `home`, and the folder of its backups."""

    home: Path
    servers: Servers
    engine: Engine
    room: KeyRoom
    folder: BackupFolder

    @property
    def url(self) -> str:
        """The server's URL for the backup role."""
        return self.servers.addresses.backup_database

    @property
    def originals(self) -> Originals:
        """The files that are backed up."""
        pictures = PictureStorage((self.home / "pictures").as_uri())
        return Originals(self.room.keyring, self.room.root_public, pictures, self.home / "exports")

    def back_up(self, now: datetime = NOW, url: str = "", announce: Announce = quiet) -> Backup:
        """Make a backup; `url` is another one for PostgreSQL's programs."""
        source = BackupSource(url or self.url, self.home, True, self.originals, {"ZPCODE_HOME": str(self.home)}, "0")
        role = connect(self.url, pool_size=1)
        try:
            return make.back_up(role, source, self.folder, announce, now)
        finally:
            role.dispose()

    def note(self, word: str) -> None:
        """Commit one audit entry with this action."""
        with transaction(self.engine) as connection:
            audit.append(connection, at=NOW, actor="test", action=word, object_="", detail={})

    def clock(self) -> datetime:
        """The time by the server's clock."""
        with transaction(self.engine) as connection:
            return backups.now(connection)

    @contextmanager
    def archive(self) -> Iterator[None]:
        """`zpcode backup --wal` as a process. At the end it has received everything that was committed."""
        environment = os.environ | {"ZPCODE_BACKUP_DATABASE_URL": self.url, "ZPCODE_HOME": str(self.home)}
        command = [sys.executable, "-m", "zpcode", "backup", str(self.folder.path), "--wal"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            eventually(self.received)
            yield
            eventually(self.received)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def received(self) -> bool:
        """Whether the archive has on disk what is written now. Only a superuser may ask how far a receiver is."""
        return self.administer(_RECEIVED) == 1

    def administer(self, statement: str) -> object:
        """Run a statement as PostgreSQL's superuser and return its value, if it has one."""
        return administer(self.servers, statement)


def administer(servers: Servers, statement: str) -> object:
    """Run a statement on these servers as PostgreSQL's superuser and return its value, if it has one."""
    password = servers.role_passwords()["postgres"]
    superuser = f"postgresql://postgres:{password}@/postgres?host={servers.postgres_sockets}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


@contextmanager
def installation() -> Iterator[BackedUp]:
    """The installation, running; the folder of backups is empty."""
    with tempfile.TemporaryDirectory(prefix="zpcode-backups-", dir=in_memory(), ignore_cleanup_errors=True) as top:
        folder = Path(top)
        folder.chmod(0o711)
        home = folder / "home"
        with Servers(home, durable=False) as servers:
            home.chmod(0o711)
            engine = connect(servers.addresses.database, pool_size=2)
            try:
                migrate_embedded(servers.addresses)
                room = setting.key_house(folder / "keys", NOW).room
                made = BackedUp(home, servers, engine, room, BackupFolder(folder / "backups"))
                made.originals.pictures.put({f"{digit * 32}-160.webp": digit.encode() * 1000 for digit in "abc"})
                yield made
            finally:
                engine.dispose()


def restored_evidence(home: Path) -> tuple[BehindEvidence, ...]:
    """What a restored database says of itself; its server is started for this and stopped."""
    with Servers(home, durable=False) as servers:
        engine = connect(servers.addresses.database, pool_size=1)
        try:
            with transaction(engine) as connection:
                return continuity.marks(connection).evidence
        finally:
            engine.dispose()


def notes(home: Path) -> list[str]:
    """The actions in the audit log of a restored home, oldest first; its server is started for this and stopped."""
    with Servers(home, durable=False) as servers:
        engine = connect(servers.addresses.database, pool_size=1)
        try:
            with transaction(engine) as connection:
                return [entry.action for entry, _, _ in audit.entries(connection)]
        finally:
            engine.dispose()
