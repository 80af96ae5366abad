"""What every command needs: the servers its settings name, and who is at the keyboard."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from redis import Redis

from zpcode.embedded.servers import Servers
from zpcode.errors import Unavailable
from zpcode.rules.access import Caller, Role
from zpcode.services import projection
from zpcode.settings import Settings
from zpcode.store.session import Engine, connect


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """The authority's PostgreSQL: the one that is set, or the demo's while that is running."""
    engine = connect(settings.database_url or Servers(settings.home).addresses.database, pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def cache(settings: Settings) -> Iterator[Redis]:
    """The authority's Redis, found in the same way."""
    redis = projection.connect(settings.redis_url or Servers(settings.home).addresses.redis)
    try:
        yield redis
    finally:
        redis.close()


def project(engine: Engine, settings: Settings) -> None:
    """Show a committed change to the scan service now; say so where Redis must wait for the worker."""
    with cache(settings) as redis:
        try:
            projection.catch_up(engine, redis)
        except Unavailable as unavailable:
            typer.echo(f"{unavailable.text.zh} / {unavailable.text.en}", err=True)


def operator() -> Caller:
    """Whoever can run this command on this machine is an operator; the audit log keeps the login name."""
    return Caller(Role.OPERATOR, "*", f"cli:{getpass.getuser()}")
