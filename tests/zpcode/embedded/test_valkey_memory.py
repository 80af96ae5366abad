"""One client cannot have Valkey build replies without bound, and the other clients do not notice it."""

from __future__ import annotations

from contextlib import closing

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.retry import Retry

from zpcode.embedded.servers import Servers

BUCKET = "zp:{b:7}:h:0"


def test_a_client_whose_replies_take_all_the_room_loses_its_connection(servers: Servers) -> None:
    """The scan account may write long fields, and ask for one of them a hundred times in one command."""
    with (
        closing(Redis.from_url(servers.addresses.admin_redis)) as admin,
        closing(Redis.from_url(servers.addresses.scan_redis, retry=Retry(NoBackoff(), 0))) as thief,
        closing(Redis.from_url(servers.addresses.redis, retry=Retry(NoBackoff(), 0))) as authority,
    ):
        authority.ping()
        evicted = admin.info("stats")["evicted_clients"]
        try:
            thief.hset(BUCKET, "99", b"x" * (4 << 20))
            with pytest.raises(LostConnection):
                thief.hmget(BUCKET, ["99"] * 100)
            assert admin.info("stats")["evicted_clients"] == evicted + 1
            assert authority.ping()
            assert thief.hmget(BUCKET, ["99"] * 2)
        finally:
            admin.delete(BUCKET)
