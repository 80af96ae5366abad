"""What every command needs: the servers its settings name, and who is at the keyboard."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from zpcode.embedded.servers import Servers
from zpcode.errors import Unavailable
from zpcode.projection import client, projector
from zpcode.projection.client import AnyRedis
from zpcode.rules.access import Caller, Role
from zpcode.settings import AuthoritySettings
from zpcode.store.database.session import Engine, connect


@contextmanager
def database(settings: AuthoritySettings) -> Iterator[Engine]:
    """The authority's PostgreSQL: the one that is set, or the demo's while that is running."""
    engine = connect(settings.database_url or Servers(settings.home).addresses.database, pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def cache(settings: AuthoritySettings, *, seconds: float = client.TIMEOUT_SECONDS) -> Iterator[AnyRedis]:
    """The authority's Redis, found in the same way; `seconds` is how long it may take to answer."""
    redis = client.connect(settings.redis_url or Servers(settings.home).addresses.redis, seconds=seconds)
    try:
        yield redis
    finally:
        redis.close()


def project(engine: Engine, settings: AuthoritySettings) -> None:
    """Show a committed change to the scan service now; say so where Redis must wait for the worker."""
    with cache(settings) as redis:
        try:
            projector.catch_up(engine, redis)
        except Unavailable as unavailable:
            typer.echo(f"{unavailable.text.zh} / {unavailable.text.en}", err=True)


def operator() -> Caller:
    """Whoever can run this command on this machine is an operator; the audit log keeps the login name."""
    return Caller(Role.OPERATOR, "*", f"cli:{getpass.getuser()}")
