"""A replica of the installation's PostgreSQL that can lag and become the primary, as a deployment has for a failover."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.e2e.lost_site import RunningSite
from tests.support.backup_setting import administer
from tests.support.patience import eventually
from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import Servers
from zpcode.services.backups.programs import TO_BACK_UP, programs_for


class Standby:
    """The replica in `home`. After `promote` it is stopped, so that `site` can start it as the database of this home."""

    def __init__(self, home: Path, first: RunningSite) -> None:
        self.servers, self._first = Servers(home), first
        self._processes = Processes(home / "log")

    def start(self) -> None:
        """Copy the primary and follow it, with the passwords of the primary."""
        shutil.copytree(self._first.home / "secrets", self.servers.home / "secrets")
        programs = programs_for(18, self.servers.home, TO_BACK_UP)
        url = self._first.servers.addresses.backup_database
        programs.run("pg_basebackup", "-D", self.servers.data, "-R", "-X", "stream", "-c", "fast", url=url)
        user = self.servers.user
        if user is not None:
            for path in (self.servers.data, *self.servers.data.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)
        self.servers.make_sockets()
        command: list[str | Path] = [self.servers.programs() / "postgres", "-D", self.servers.data, "-k", self.servers.postgres_sockets, "-c", "listen_addresses=",
                   "-c", "max_connections=200"]  # fmt: skip
        self._processes.start("standby", command, user=user, stop=signal.SIGINT)
        eventually(self._follows)

    def _follows(self) -> bool:
        try:
            return administer(self.servers, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 1
        except psycopg.OperationalError:
            return False

    def lag(self) -> None:
        """Receive nothing more from the primary, as behind a broken line."""
        administer(self.servers, "ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
        administer(self.servers, "SELECT pg_reload_conf()")
        eventually(lambda: administer(self.servers, "SELECT count(*) FROM pg_stat_wal_receiver") == 0)

    def promote(self) -> None:
        """Become the primary, and stop."""
        assert administer(self.servers, "SELECT pg_promote(true, 60)")
        self.stop()

    def stop(self) -> None:
        """Stop the replica."""
        self._processes.stop()


@contextmanager
def following(first: RunningSite, home: Path) -> Iterator[Standby]:
    """A replica that is up to date."""
    replica = Standby(home, first)
    try:
        replica.start()
        yield replica
    finally:
        replica.stop()
