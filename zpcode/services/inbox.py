"""Move the entries of scans from the inbox, which the scan service appends to, into the stream that workers drain.

Only the authority writes the stream, so an entry's id is the time at which this server took it over, by its clock. The scan
service can neither give an entry another time nor remove one. An entry that is too large never leaves the server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from redis import Redis

from zpcode.wire.redis_keys import INBOX, INBOX_SINCE, SCAN_GROUP, SCANS
from zpcode.wire.scan_event import EVENT_FIELD, MAX_ENTRY_BYTES, SINCE_FIELD

MAX_BYTES: Final = 4 * 1024 * 1024
"""The most bytes that are taken over at once."""
SINCE_MS: Final = 10_000
"""How exactly it is noted when the inbox was empty last."""

# `since` is written only after it has grown by ten seconds: an idle worker asks four times a second. The first command
# that writes is LPOP, so a server whose memory is full moves entries too; there `since` may stay as it is (pcall). The
# entries are delivered to the consumer at once, so that no other worker takes them before it.
_COLLECT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = tonumber(redis.call('GET', KEYS[3]) or now)
local taken, refused, bytes = 0, 0, 0
while taken + refused < tonumber(ARGV[1]) and bytes < tonumber(ARGV[3]) do
  local entry = redis.call('LPOP', KEYS[1])
  if not entry then break end
  if #entry > tonumber(ARGV[2]) then
    refused = refused + 1
  else
    redis.call('XADD', KEYS[2], '*', ARGV[4], entry, ARGV[5], string.format('%.0f', since))
    taken, bytes = taken + 1, bytes + #entry
  end
end
if taken > 0 then
  redis.call('XREADGROUP', 'GROUP', ARGV[7], ARGV[8], 'COUNT', taken, 'STREAMS', KEYS[2], '>')
end
if now - since > tonumber(ARGV[6]) and redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[3]) == 0 then
  redis.pcall('SET', KEYS[3], string.format('%.0f', now))
end
return {taken, refused}
"""


class Collected(NamedTuple):
    """The entries that were taken over into the stream, and those that were dropped because they are too large."""

    taken: int
    refused: int


def collect(redis: Redis, limit: int, consumer: str) -> Collected:
    """Take over up to `limit` entries. They are then unfinished entries of `consumer`. Raises RedisError."""
    script = redis.register_script(_COLLECT)
    bounds: list[int | bytes | str] = [limit, MAX_ENTRY_BYTES, MAX_BYTES, EVENT_FIELD, SINCE_FIELD, SINCE_MS]
    taken, refused = script(keys=[INBOX, SCANS, INBOX_SINCE], args=[*bounds, SCAN_GROUP, consumer])
    return Collected(taken, refused)


def waiting_since(redis: Redis) -> tuple[int, datetime | None]:
    """The number of entries in the inbox, and since when it was not empty (None: unknown). Raises RedisError."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.llen(INBOX)
    pipeline.get(INBOX_SINCE)
    length, since = pipeline.execute()
    return length, _moment(since)


def _moment(since: Any) -> datetime | None:
    return datetime.fromtimestamp(int(since) / 1000, UTC) if isinstance(since, bytes) and since.isdigit() else None
