"""What every command needs: the servers of its settings, and the caller."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import typer

from keys.client import SignerClient
from keys.files import read_public
from keys.keyring import Keyring, read_root
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import Text, Unavailable
from zpcode.projection import client, projector
from zpcode.projection.client import AnyRedis
from zpcode.projection.head_keys import HeadKeys
from zpcode.rules.access import Caller, Role
from zpcode.services.audit_heads import HeadFile
from zpcode.services.batches import file_keys
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import (
    WITNESS_SECONDS,
    FilesWitness,
    RedisWitness,
    SignerWitness,
    Witness,
)
from zpcode.services.head_comparison import CountersignedHeads
from zpcode.settings import AuthoritySettings
from zpcode.store.database.session import Engine, connect

SIGNER_SECONDS: Final = 2.0


@contextmanager
def database(settings: AuthoritySettings) -> Iterator[Engine]:
    """The authority's PostgreSQL: that of the settings, or that of the running demo. Writers pass the gate of continuity."""
    with ungated_database(settings) as engine, ExitStack() as resources:
        gate_of(engine, settings, resources).install()
        yield engine


@contextmanager
def ungated_database(settings: AuthoritySettings) -> Iterator[Engine]:
    """The same without the gate: for `recover`, which brings a database forward that is behind. Raises Unavailable."""
    engine = connect(settings.database_url or _of_the_demo(settings).database, pool_size=2)
    HeadKeys(partial(file_keys.secrets_of, settings.file_key)).install(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _of_the_demo(settings: AuthoritySettings) -> ServerAddresses:
    """The servers of the demo in HOME. Raises Unavailable if none runs there: a variable is missing, or HOME is another folder."""
    servers = Servers(settings.home)
    if not servers.started:
        home = settings.home.absolute()
        zh = f"没有设置 ZPCODE_DATABASE_URL，{home} 中也没有运行的 demo；请设置变量（ZPCODE_HOME 或 ZPCODE_DATABASE_URL），或先启动 demo"
        en = f"ZPCODE_DATABASE_URL is not set, and no demo runs in {home}: set ZPCODE_HOME or ZPCODE_DATABASE_URL, or start the demo"
        raise Unavailable(Text(zh, en))
    return servers.addresses


def gate_of(engine: Engine, settings: AuthoritySettings, resources: ExitStack) -> ContinuityGate:
    """The gate of this command. `resources` closes its connections."""
    return ContinuityGate(engine, witnesses_of(settings, resources))


def witnesses_of(settings: AuthoritySettings, resources: ExitStack) -> list[Witness]:
    """The folder of code files, the signer, and Redis unless neither the settings nor a running demo names one."""
    signer = resources.enter_context(SignerClient(settings.signer_socket, timeout=WITNESS_SECONDS))
    witnesses: list[Witness] = [FilesWitness(settings.export_dir, settings.file_key), SignerWitness(signer)]
    with suppress(Unavailable):
        witnesses.append(RedisWitness(resources.enter_context(cache(settings))))
    return witnesses


@contextmanager
def owner_database(settings: AuthoritySettings) -> Iterator[Engine]:
    """PostgreSQL as the role that owns the tables, for migrations. Raises Unavailable if it is the role of the application."""
    if settings.database_url and not settings.migration_url:
        zh = "请设置 ZPCODE_MIGRATION_URL：拥有数据表的角色（deploy/postgres-roles.sql）"
        en = "set ZPCODE_MIGRATION_URL to the role that owns the tables (deploy/postgres-roles.sql)"
        raise Unavailable(Text(zh, en))
    engine = connect(settings.migration_url or _of_the_demo(settings).owner_database, pool_size=1)
    try:
        if engine.url.username == settings.application_role:
            zh = f"应用角色 {engine.url.username} 不应拥有数据表；请用另一个角色迁移（deploy/postgres-roles.sql）"
            en = (
                f"the application's role {engine.url.username} must own no table; migrate with another role"
                " (deploy/postgres-roles.sql)"
            )
            raise Unavailable(Text(zh, en))
        yield engine
    finally:
        engine.dispose()


@contextmanager
def cache(settings: AuthoritySettings, *, seconds: float = client.TIMEOUT_SECONDS) -> Iterator[AnyRedis]:
    """The authority's Redis: that of the settings, or that of the running demo. `seconds` is the timeout of a reply."""
    redis = client.connect(settings.redis_url or Servers(settings.home).addresses.redis, seconds=seconds)
    try:
        yield redis
    finally:
        redis.close()


def project(engine: Engine, settings: AuthoritySettings) -> None:
    """Write a committed change to Redis now. If Redis does not answer, print that the worker will do it."""
    with cache(settings) as redis:
        try:
            projector.catch_up(engine, redis)
        except Unavailable as unavailable:
            typer.echo(f"{unavailable.text.zh} / {unavailable.text.en}", err=True)


def code_folder(settings: AuthoritySettings, directory: Path | None = None) -> CodeFolder:
    """The folder of the code files: `directory`, or that of the settings."""
    return CodeFolder(directory or settings.export_dir, settings.file_key)


def operator() -> Caller:
    """The caller of this command: an operator, with the login name for the audit log."""
    return Caller(Role.OPERATOR, "*", f"cli:{getpass.getuser()}")


def keyring_of(settings: AuthoritySettings) -> Keyring:
    """The published keyring, checked with the pinned root key. Raises KeyringError."""
    return Keyring.load(read_public(settings.keyring), read_root(settings.root_public))


def countersigned_heads(settings: AuthoritySettings, older_logs: Sequence[Path] = ()) -> CountersignedHeads:
    """The countersigned heads of the audit log, from their file and from the signer's log. Raises KeyringError.

    `older_logs` are files of that log that were rotated away, oldest first.
    """
    signer = SignerClient(settings.signer_socket, timeout=SIGNER_SECONDS)
    return CountersignedHeads(HeadFile(settings.audit_heads), signer, keyring_of(settings), older_logs)
