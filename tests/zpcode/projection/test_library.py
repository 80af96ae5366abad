"""The function library on the servers of Redis: who loads it, when, and what a scan does without it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Unavailable
from zpcode.projection import library
from zpcode.projection.projector import catch_up
from zpcode.wire import redis_keys
from zpcode.wire.functions.library import LIBRARY, PATTERN, SOURCE, VERSION, version_of


def loaded(redis: Any, pattern: str = PATTERN) -> set[str]:
    """The libraries of a server."""
    return set(library.names(redis.function_list(library=pattern)))


def another(redis: Redis, name: str) -> str:
    """Load a library with one function under a name."""
    redis.function_load(f"#!lua name={name}\nredis.register_function('{name}_f', function() return 1 end)")
    return name


@pytest.fixture(autouse=True)
def _without_libraries(redis: Redis) -> None:
    redis.function_flush()


def test_an_emptied_server_gets_the_library_before_its_head(
    engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without the library has no head: so no scan believes it."""

    def away(*_: object) -> None:
        raise Unavailable(library._NOT_ALLOWED)

    with monkeypatch.context() as broken:
        broken.setattr(library, "provide", away)
        with pytest.raises(Unavailable, match="load functions"):
            catch_up(engine, redis)
    assert redis.exists(redis_keys.HEAD) == 0
    catch_up(engine, redis)
    assert redis.exists(redis_keys.HEAD) == 1
    assert loaded(redis) == {LIBRARY}


def test_a_library_that_is_lost_alone_is_loaded_by_the_next_turn(engine: Engine, redis: Redis) -> None:
    catch_up(engine, redis)
    redis.function_flush()
    catch_up(engine, redis, fill=False)
    assert loaded(redis) == {LIBRARY}


def test_without_the_library_a_scan_gets_its_verdict_and_then_its_history_without_a_restart(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    registry.project()
    redis.function_flush()
    answer = service.json(registry.item())
    assert (answer["verdict"], answer["history"]) == ("verified", None)
    registry.project()
    assert service.json(registry.item(), client="192.0.2.1")["history"]["scans"] == 1


def test_versions_stand_beside_each_other_and_old_ones_are_removed(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before and newer ones stay: their processes may still run, or run already."""
    monkeypatch.setattr(library, "VERSION", 5)
    names = {version: another(redis, f"zpcode_v{version}_{version:012x}") for version in (1, 3, 4, 5, 6)}
    foreign = {another(redis, "zpcode_view"), another(redis, "other")}
    library.provide(redis, loaded(redis))
    assert loaded(redis, "*") == {names[4], names[5], names[6], LIBRARY} | foreign
    library.provide(redis, loaded(redis))


def test_two_processes_that_load_at_once_do_not_mind(redis: Redis) -> None:
    library.provide(redis, ())
    library.provide(redis, ())
    library.provide(redis, {LIBRARY, "zpcode_v0_000000000000"})
    assert loaded(redis) == {LIBRARY}


def test_a_name_says_version_and_text() -> None:
    assert version_of(LIBRARY) == VERSION
    assert SOURCE.startswith(f"#!lua name={LIBRARY}\n")
    assert [version_of(name) for name in ("zpcode_view", "zpcode_v1", "zpcode_v1_xyz", "a_zpcode_v1_0123456789ab")] == [
        None
    ] * 4


def test_an_authority_that_may_not_load_functions_says_what_to_do(
    addresses: ServerAddresses, engine: Engine, redis: Redis
) -> None:
    """The users of an older version: nothing is projected, and the error names the file."""
    redis.execute_command("ACL", "SETUSER", "authority", "-function|load")  # type: ignore[no-untyped-call]
    try:
        with closing(Redis.from_url(addresses.redis)) as authority, pytest.raises(Unavailable, match="valkey-users"):
            catch_up(engine, authority)
    finally:
        redis.execute_command("ACL", "SETUSER", "authority", "+function|load")  # type: ignore[no-untyped-call]
    assert redis.exists(redis_keys.HEAD) == 0


def test_the_head_says_whether_the_server_evicts_keys(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    """The scan service may not ask the server itself."""
    reader = service.app.redis_reader

    def compared() -> tuple[bytes | None, bool]:
        registry.project()
        service.compare()
        noted: Any = redis.hget(redis_keys.HEAD, "evicting")
        return noted, reader.evicting

    redis.config_resetstat()
    assert compared() == (b"0", False)
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert compared() == (b"1", True)
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert compared() == (b"0", False)
    redis.hdel(redis_keys.HEAD, "evicting")
    service.compare()
    assert reader.evicting, "a head of an older version says nothing"
