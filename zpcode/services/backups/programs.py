"""PostgreSQL's own programs: where those of a server's major version are, and how they are run.

`pg_verifybackup` and recovery need the version that wrote the data, so a version that differs from the server's is not used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from zpcode.embedded.servers import Servers
from zpcode.errors import Text, Unavailable

TO_BACK_UP: Final = ("pg_basebackup", "pg_receivewal", "pg_verifybackup", "pg_waldump", "pg_archivecleanup")
TO_RESTORE: Final = ("postgres", "psql", "pg_verifybackup", "pg_waldump")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """The programs of one major version, in one folder."""

    folder: Path
    major: int

    def path(self, name: str) -> Path:
        """The path of a program."""
        return self.folder / name

    def run(self, name: str, *options: str | Path, url: str = "") -> str:
        """Run a program to its end and return its output. Raises Unavailable with what it said if it fails.

        `url` is the server's; its password is handed over where other users cannot read it.
        """
        address, environment = connection(url)
        command: list[str | Path] = [self.path(name), *address, *options]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            reason = done.stderr.strip()[-1000:] or f"exit status {done.returncode}"
            raise Unavailable(Text(f"{name} 失败：{reason}", f"{name} failed: {reason}"))
        return done.stdout


def connection(url: str) -> tuple[list[str], dict[str, str]]:
    """The options with which a program connects to a server, and its environment. Without `url`, no options.

    The password is in the environment: every user of the machine can read a command line.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    if not url:
        return [], environment
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    password = query.pop("password", "") or unquote(parts.password or "")
    user, host = parts.netloc.rpartition("@")[::2]
    plain = parts._replace(netloc=f"{user.partition(':')[0]}@{host}", query=urlencode(query))
    return ["-w", "-d", urlunsplit(plain)], environment | ({"PGPASSWORD": password} if password else {})


def programs_for(major: int, home: Path, needed: Sequence[str]) -> PostgresPrograms:
    """The programs of this major version: those in PATH, else the system's, else the embedded server's.

    Raises Unavailable if a program of this version is missing, and says what to install.
    """
    for folder in _folders(major, home, needed[0]):
        if all((folder / name).is_file() for name in needed) and _major(folder / needed[0]) == major:
            return PostgresPrograms(folder, major)
    names = ", ".join(needed)
    raise Unavailable(
        Text(
            f"缺少 PostgreSQL {major} 的程序 {names}；Debian 请安装 postgresql-{major}，"
            f"RHEL 请安装 postgresql{major}-server；装在别处的，请把其目录加入 PATH",
            f"the programs {names} of PostgreSQL {major} are missing. Debian: install postgresql-{major}; "
            f"RHEL: postgresql{major}-server; elsewhere: add their folder to PATH",
        )
    )


def _folders(major: int, home: Path, program: str) -> Iterator[Path]:
    in_path = shutil.which(program)
    if in_path is not None:
        yield Path(in_path).resolve().parent
    yield Path(f"/usr/lib/postgresql/{major}/bin")  # Debian
    yield Path(f"/usr/pgsql-{major}/bin")  # RHEL
    try:
        yield Servers(home).programs()
    except Unavailable:
        return  # the wheel is not installed: an own server's machine does not need it


def _major(program: Path) -> int:
    done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else 0
