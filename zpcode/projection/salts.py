"""The salts with which the scan service hashes addresses: today's and tomorrow's, made ahead in Redis.

The scan service may read a salt and not write one: who could choose it could compute the addresses behind the marks of
visitors, or make each scan process fetch a value of any length. A worker that is stopped for less than a day leaves no day
without a salt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from zpcode.errors import Text, Unavailable
from zpcode.projection import client
from zpcode.projection.client import AnyRedis
from zpcode.wire import redis_keys

SALT_SECONDS: Final = 48 * 3600
"""For how long a salt exists. Tomorrow's is made when today begins, so 48 hours are just its time."""
_AWAY: Final = Text("缓存服务暂时无法访问，稍后再生成每日盐值", "Redis does not answer; the day's salt is made later")

# A salt of the right length stays: the scan processes use it already. pcall: a value of another type is replaced too.
_PROVIDE: Final = """
local salt = redis.pcall('GET', KEYS[1])
if type(salt) == 'string' and #salt == #ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""


def provide(redis: AnyRedis, at: float, random: Callable[[int], bytes]) -> int:
    """Make the salts of the day of `at` (seconds since 1970, UTC) and of the next day that do not exist; returns how many.

    `random` returns that many random bytes that nobody can predict. Raises Unavailable.
    """
    made = 0
    for key in (redis_keys.salt(at), redis_keys.salt(at + redis_keys.DAY_SECONDS)):
        holder = client.holder(redis, key)
        try:
            made += holder.register_script(_PROVIDE)(keys=[key], args=[random(redis_keys.SALT_BYTES), SALT_SECONDS])
        except RedisError as error:
            raise Unavailable(_AWAY) from error
    return made
