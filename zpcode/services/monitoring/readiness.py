"""Which parts the authority can reach now. Each part is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from keys.client import SigningService
from zpcode.errors import DatabaseBehind, KeyringError, SignerError, Unavailable
from zpcode.projection.client import AnyRedis
from zpcode.store import cards, continuity
from zpcode.store.database.session import Engine, transaction

READY: Final = "ready"
DEGRADED: Final = "degraded"
UNAVAILABLE: Final = "unavailable"
OK: Final = "ok"
DOWN: Final = "down"
BEHIND: Final = "behind"


def parts(engine: Engine, redis: AnyRedis, signer: SigningService, keyring: Callable[[], bytes]) -> dict[str, str]:
    """`ok` or `down` for the database, Redis, the signer and the keyring; `behind` for a database that was restored."""
    return {
        "database": _asked(lambda: _database(engine)),
        "redis": _asked(redis.ping),
        "signer": _asked(signer.active_key),
        "keyring": _asked(keyring),
    }


def status(states: dict[str, str]) -> str:
    """`unavailable` without the database, `behind` if it is behind (docs/recovery.md), `degraded` if another part is down.

    Else `ready`. Takes what `parts` gives.
    """
    if states["database"] == BEHIND:
        return BEHIND
    if states["database"] != OK:
        return UNAVAILABLE
    return READY if set(states.values()) == {OK} else DEGRADED


def details(
    engine: Engine, redis: AnyRedis, signer: SigningService, keyring: Callable[[], bytes]
) -> tuple[bool, dict[str, Any]]:
    """Whether the authority is ready, and the word and the parts for the private port."""
    states = parts(engine, redis, signer, keyring)
    word = status(states)
    return word != UNAVAILABLE, {"status": word, "parts": states}


def _asked(ask: Callable[[], object]) -> str:
    try:
        ask()
    except DatabaseBehind:
        return BEHIND
    except (Unavailable, RedisError, SignerError, KeyringError):
        return DOWN
    return OK


def _database(engine: Engine) -> int:
    with transaction(engine) as connection:
        continuity.require(connection)
        return cards.head(connection)
