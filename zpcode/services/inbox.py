"""Move the entries of scans from the inbox, which the scan service appends to, into the stream that workers drain.

Only the authority writes the stream, so an entry's id is the time at which this server took it over, by its clock. The scan
service can neither give an entry another time nor remove one. An entry that is too large, or does not begin as one does,
never leaves the server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from redis import Redis

from zpcode.wire.redis_keys import INBOX, INBOX_SINCE, SCAN_GROUP, SCANS
from zpcode.wire.scan_event import AT_ONCE, EVENT_FIELD, MAX_ENTRY_BYTES, SINCE_FIELD

MAX_BYTES: Final = 4 * 1024 * 1024
"""The most bytes that are taken over at once."""
MAX_SCANS: Final = 25_000
"""The most scans that are taken over at once, as the entries announce them."""
MAX_WAITING: Final = 2_000_000
"""The most entries that wait. Scan processes stop at `ZPCODE_SCAN_STREAM_LENGTH`, at most half of it."""
_AHEAD_MS: Final = 86_400_000
"""An id of the stream is a time of this server, which may have gone back by less than a day."""
SINCE_MS: Final = 10_000
"""How exactly it is noted when the inbox was empty last."""

# An entry begins with the number of its scans (MessagePack: a fixarray, or an array of 16 bits). One that does not, or
# announces none or too many, is dropped here, so that a flood of tiny entries costs no stream entry and no row of Python.
# `since` is written only after it has grown by ten seconds: an idle worker asks four times a second. The first command
# that writes is LPOP, so a server whose memory is full moves entries too; there `since` may stay as it is (pcall). The
# entries are delivered to the consumer at once, so that no other worker takes them before it.
_COLLECT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = tonumber(redis.call('GET', KEYS[3]) or now)
local taken, large, unreadable, bytes, scans = 0, 0, 0, 0, 0
local function announced(entry)
  local first, high, low = string.byte(entry, 1, 3)
  if not first then return 0 end
  if first >= 0x90 and first <= 0x9f then return first - 0x90 end
  return first == 0xdc and low and high * 256 + low or 0
end
while taken + large + unreadable < tonumber(ARGV[1]) and bytes < tonumber(ARGV[3]) and scans < tonumber(ARGV[9]) do
  local entry = redis.call('LPOP', KEYS[1])
  if not entry then break end
  local number = announced(entry)
  if #entry > tonumber(ARGV[2]) then
    large = large + 1
  elseif number < 1 or number > tonumber(ARGV[10]) then
    unreadable = unreadable + 1
  else
    local added = redis.pcall('XADD', KEYS[2], '*', ARGV[4], entry, ARGV[5], string.format('%.0f', since))
    if type(added) == 'table' then -- an error: the stream is not the authority's (discard_damage)
      redis.call('LPUSH', KEYS[1], entry)
      return added
    end
    taken, bytes, scans = taken + 1, bytes + #entry, scans + number
  end
end
if taken > 0 then
  redis.call('XREADGROUP', 'GROUP', ARGV[7], ARGV[8], 'COUNT', taken, 'STREAMS', KEYS[2], '>')
end
if now - since > tonumber(ARGV[6]) and redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[3]) == 0 then
  redis.pcall('SET', KEYS[3], string.format('%.0f', now))
end
return {taken, large, unreadable}
"""
# The newest go: an account that can only append shall not push out what waits already.
_BOUND: Final = """
local over = redis.call('LLEN', KEYS[1]) - tonumber(ARGV[1])
if over > 0 then redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[1]) - 1) end
return math.max(over, 0)
"""


class Collected(NamedTuple):
    """The entries that were taken over into the stream, and those that were dropped: too large, or no entries."""

    taken: int
    large: int
    unreadable: int


def collect(redis: Redis, limit: int, consumer: str) -> Collected:
    """Take over up to `limit` entries. They are then unfinished entries of `consumer`. Raises RedisError."""
    script = redis.register_script(_COLLECT)
    bounds: list[int | bytes | str] = [limit, MAX_ENTRY_BYTES, MAX_BYTES, EVENT_FIELD, SINCE_FIELD, SINCE_MS]
    args = [*bounds, SCAN_GROUP, consumer, MAX_SCANS, AT_ONCE]
    return Collected(*script(keys=[INBOX, SCANS, INBOX_SINCE], args=args))


def bound(redis: Redis) -> int:
    """Drop the newest entries above `MAX_WAITING`; returns how many. Raises RedisError.

    No scan process appends so much. Whoever floods the inbox cannot push out the scans that wait.
    """
    return int(redis.register_script(_BOUND)(keys=[INBOX], args=[MAX_WAITING]))


def discard_damage(redis: Redis) -> None:
    """Delete what is not as the authority has made it: a key of another type, a stream in which no further id fits. Raises RedisError."""
    for key, kind in ((INBOX, b"list"), (SCANS, b"stream"), (INBOX_SINCE, b"string")):
        if redis.type(key) not in {kind, b"none"}:
            redis.delete(key)
    newest = redis.xinfo_stream(SCANS)["last-generated-id"] if redis.exists(SCANS) else b"0-0"
    if int(newest.split(b"-")[0]) > redis.time()[0] * 1000 + _AHEAD_MS:
        redis.delete(SCANS)


def waiting_since(redis: Redis) -> tuple[int, datetime | None]:
    """The number of entries in the inbox, and since when it was not empty (None: unknown). Raises RedisError."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.llen(INBOX)
    pipeline.get(INBOX_SINCE)
    length, since = pipeline.execute()
    return length, _moment(since)


def _moment(since: Any) -> datetime | None:
    return datetime.fromtimestamp(int(since) / 1000, UTC) if isinstance(since, bytes) and since.isdigit() else None
