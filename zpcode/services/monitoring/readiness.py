"""What the authority can reach right now, found out by asking each part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from keys.client import SigningService
from zpcode.errors import KeyringError, SignerError, Unavailable
from zpcode.projection.client import AnyRedis
from zpcode.store import cards
from zpcode.store.database.session import Engine, transaction

READY: Final = "ready"
DEGRADED: Final = "degraded"
UNAVAILABLE: Final = "unavailable"
OK: Final = "ok"
DOWN: Final = "down"


def parts(engine: Engine, redis: AnyRedis, signer: SigningService, keyring: Callable[[], bytes]) -> dict[str, str]:
    """`ok` or `down` for database, redis, signer and keyring."""
    return {
        "database": _asked(lambda: _database(engine)),
        "redis": _asked(redis.ping),
        "signer": _asked(signer.active_key),
        "keyring": _asked(keyring),
    }


def status(found: dict[str, str]) -> str:
    """`unavailable` without the database, `degraded` without anything else, otherwise `ready`."""
    if found["database"] != OK:
        return UNAVAILABLE
    return READY if set(found.values()) == {OK} else DEGRADED


def _asked(ask: Callable[[], object]) -> str:
    try:
        ask()
    except (Unavailable, RedisError, SignerError, KeyringError):
        return DOWN
    return OK


def _database(engine: Engine) -> int:
    with transaction(engine) as connection:
        return cards.head(connection)
