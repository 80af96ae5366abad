"""Replay WAL on a restored copy of the database with a server that nobody else can reach, and stop it.

The WAL lies in `pg_wal` before the server starts and no archive is asked: a `restore_command` that cannot read a file ends a
recovery early and calls it complete. Tried on PostgreSQL 18: an archive that the server's user could not read lost all later
commits without an error.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from zpcode.embedded.processes import Processes
from zpcode.errors import Refused, Text, Unavailable
from zpcode.rules.backups import PARTIAL, BaseBackup
from zpcode.services.backups.programs import PostgresPrograms

LOG: Final = "restore"
_POLL_SECONDS: Final = 0.1
_READY: Final = "ready"  # line 8 of postmaster.pid, as pg_ctl reads it
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (.+)$", re.MULTILINE)
_NOT_REACHED: Final = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True, slots=True)
class ReplayedWal:
    """How far a replay came: the LSN after the last record, and the time of the last commit; None if the WAL had no commit."""

    end: str
    last_commit: datetime | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The replay on one data directory of a backup. `user` is whom the server runs as if this process is root; `log` gets its output."""

    programs: PostgresPrograms
    data: Path
    base: BaseBackup
    user: pwd.struct_passwd | None
    processes: Processes

    def run(self, until: datetime | None, statements: Callable[[datetime | None], Sequence[str]]) -> ReplayedWal:
        """Replay to `until` (None: all WAL), begin a new timeline, run statements as the superuser, and stop.

        `statements` gets the time of the last commit (None: the WAL had none).

        Raises Refused if the WAL ends before `until`, Unavailable if the server fails.
        """
        with self._own_settings(), tempfile.TemporaryDirectory(prefix="zpcode-restore-") as folder:
            private = Path(folder)
            (private / "postgresql.conf").touch()
            (private / "pg_hba.conf").write_text("local all all trust\n", "ascii")
            (self.data / "recovery.signal").touch(0o600)
            self._own(private)
            self._own(self.data)
            begin = self.processes.log(LOG).stat().st_size if self.processes.log(LOG).exists() else 0
            self.processes.start(LOG, self._command(private, until), user=self.user, stop=signal.SIGINT)
            try:
                self._wait(begin)
                self._execute(private, statements(_last_commit(self._log(begin))))
            finally:
                self.processes.stop()
        log = self._log(begin)
        return ReplayedWal(_end(self.data), _last_commit(log))

    @contextmanager
    def _own_settings(self) -> Iterator[None]:
        """Without what `ALTER SYSTEM` or another program has set: PostgreSQL reads this file of a data directory in any case."""
        present, aside = self.data / "postgresql.auto.conf", self.data / "postgresql.auto.conf.aside"
        if present.exists():
            present.rename(aside)
        try:
            yield
        finally:
            if aside.exists():
                aside.rename(present)

    def _command(self, private: Path, until: datetime | None) -> list[str | Path]:
        """The copy's own settings do not apply, so that no archive, no library and no address of the old server is used."""
        settings = {
            "config_file": private / "postgresql.conf", "hba_file": private / "pg_hba.conf",
            "unix_socket_directories": private, "listen_addresses": "", "hot_standby": "off", "archive_mode": "off",
            "restore_command": "false", "recovery_target_action": "promote", "logging_collector": "off", "ssl": "off",
            "shared_preload_libraries": "", "log_destination": "stderr", "lc_messages": "C", "log_timezone": "UTC",
            "max_connections": "20",
        }  # fmt: skip
        if until is not None:
            settings["recovery_target_time"] = f"{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f+00}"
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.programs.path("postgres"), "-D", self.data, *options]

    def _wait(self, begin: int) -> None:
        while self._status() != _READY:
            if self.processes.unexpected_exit() is not None:
                raise self._failure(self._log(begin))
            time.sleep(_POLL_SECONDS)

    def _status(self) -> str:
        """The server's status; empty before it has one, and after the server has ended."""
        try:
            lines = (self.data / "postmaster.pid").read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return ""
        return lines[7].strip() if len(lines) >= 8 else ""

    def _failure(self, log: str) -> Refused | Unavailable:
        if _NOT_REACHED in log:
            commit = _last_commit(log)
            last = commit.isoformat(timespec="seconds") if commit else "—"
            return Refused(
                Text(
                    f"WAL 在 --until 之前就结束了（最后一次提交：{last}）；不加 --until 可全部恢复",
                    f"the WAL ends before --until (last commit: {last}); without --until everything is restored",
                )
            )
        path = self.processes.log(LOG)
        reason = "; ".join(line for line in log.splitlines() if "FATAL" in line or "PANIC" in line)[-500:]
        return Unavailable(
            Text(f"PostgreSQL 恢复失败，详见 {path}：{reason}", f"the recovery failed; see {path}: {reason}")
        )

    def _log(self, begin: int) -> str:
        return self.processes.log(LOG).read_bytes()[begin:].decode("utf-8", "replace")

    def _execute(self, private: Path, statements: Sequence[str]) -> None:
        """By standard input: other users can read a command line."""
        command: list[str | Path] = [
            self.programs.path("psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            private,
            "-U",
            self.base.superuser,
            "-d",
            self.base.database,
        ]
        script = "".join(f"{statement};\n" for statement in statements)
        done = subprocess.run(command, input=script, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(
                Text(
                    f"恢复后的数据库无法写入：{done.stderr}", f"writing to the restored database failed: {done.stderr}"
                )
            )

    def _own(self, folder: Path) -> None:
        if self.user is None:
            return
        for path, _, names in os.walk(folder):
            for entry in (path, *(os.path.join(path, name) for name in names)):  # noqa: PTH118 - thousands of files
                os.chown(entry, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)


def _end(data: Path) -> str:
    """Where the old timeline ended: the last line of the newest history (PostgreSQL manual, 25.3.6)."""
    history = max((data / "pg_wal").glob("*.history"))
    return history.read_text("ascii").strip().splitlines()[-1].split("\t")[1]


def _last_commit(log: str) -> datetime | None:
    match = _LAST_COMMIT.search(log)
    return datetime.fromisoformat(match[1]) if match else None


def stage(wal: Sequence[Path], data: Path) -> None:
    """Copy WAL segments into the copy of the database.

    The base backup has each of its own segments up to its end at least. So a segment that the archive has in part does not
    replace one of these.
    """
    for path in wal:
        target = data / "pg_wal" / path.name.removesuffix(PARTIAL)
        if path.suffix == PARTIAL and target.exists():
            continue
        try:
            shutil.copyfile(path, target)
        except FileNotFoundError:  # the archive has completed the segment since it was listed
            shutil.copyfile(path.with_suffix(""), target)
