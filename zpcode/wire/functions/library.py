"""The library of functions in Redis that the scan service calls with FCALL. The authority loads it; nobody sends scripts.

A library is named `zpcode_vVERSION_DIGEST`, and so are its functions: two versions stand beside each other during an
upgrade. `VERSION` is raised with each change of the text and gives the order of the versions; the digest makes sure
that a name means one text.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

VERSION: Final = 2
_TEXT: Final = r"""
-- The function that the scan service calls (FCALL) for the items of one round trip: their own status, their history, and
-- whether these views of them count. On a cluster all queries of one call are about items of one batch (their keys share a
-- slot); on a single server they may be about any items.
--
-- KEYS  one history bucket for each query: the only keys that are written. The other keys that are read share their slot
--       and are not among KEYS, because then the scan service would need the right to write them.
-- ARGV  1 now (s)  2 seconds a visit lasts  3 '1' where a missing entry proves nothing (this Redis evicts keys)
--       then for each query: field in the bucket, visitor (4 bytes; empty: this view does not count), city (at most 64
--       bytes), index of the item where items of its batch have a timeline of their own (otherwise empty)
-- Reply one flat array, five elements for each query: flags, the number of this view or of the last one, time of the first
--       (s), its city, the item's timeline as stored or nil. All are 0 or empty where the batch card is gone: nothing is
--       written to a Redis that was emptied. The flags:
--         1  the timeline was asked for: if it is missing, the item has none
--         2  the history is complete
--         4  this view was counted now
--         8  the history cannot be read
--
-- The scan service may write the buckets in other ways too (HSET): a function has the rights of its caller. So nothing in
-- a bucket is trusted. A timeline comes only from the hash `:x`, which the authority alone may write.
--
-- A history is, big-endian: number of scans (u32, 1 to 2^31-1), time of the first (u32), length of its city (u8), city
-- (UTF-8), visits. A visit is a record of 9 bytes: visitor (4), time in tens of seconds modulo 65536 (2), number of the view (3).
-- There are at most four visits, and fewer where a history would exceed 64 bytes: a longer one would turn its whole bucket
-- from a compact list into a hash table.
local HEAD, VISIT, VISITS, CITY, COMPACT = 9, 9, 4, 64, 64
local MOST, DAY = 2147483647, 86400
local LONGEST = HEAD + CITY + VISITS * VISIT
local BUCKET = 134217727 -- the highest bucket of a batch
local FIELDS = {}
for index = 0, 127 do FIELDS['' .. index] = true end
local QUERIES = 500 -- of one call: while it runs nobody else is answered, and a call that has written cannot be stopped
local REFUSED = 'not a query for an item'

-- A number has one form, without zeros before it: so an item has one history, not more under other names. The numbers of
-- batches need no bound, because nothing is written where the authority has no card.
local function batch_of(call, bucket)
  local name, number = string.match(bucket, '^(zp:{b:[1-9]%d*}):h:(%d+)$')
  if not name or tonumber(number) > BUCKET or (string.byte(number) == 48 and #number > 1) then error(REFUSED) end
  local batch = call.batches[name]
  if batch == nil then
    batch = { name = name, there = redis.call('EXISTS', name) == 1 }
    call.batches[name] = batch
  end
  return batch
end

local function complete_from_birth(call, batch)
  if batch.complete == nil then
    batch.complete = not call.evicting and redis.call('EXISTS', batch.name .. ':hc') == 1
  end
  return batch.complete
end

-- Number, first time, city and visits of a stored history; nil where it is not one.
local function parse(stored, now)
  local length = #stored
  if length < HEAD or length > LONGEST then return nil end
  local number, first, size = struct.unpack('>I4I4B', stored)
  local rest = length - HEAD - size
  if number < 1 or number > MOST or first > now + DAY or size > CITY then return nil end
  if rest < 0 or rest > VISITS * VISIT or rest % VISIT ~= 0 then return nil end
  return number, first, string.sub(stored, HEAD + 1, HEAD + size), string.sub(stored, HEAD + size + 1)
end

-- The visits that have not ended, oldest first, and the view number of this visitor among them (nil: none).
local function recent_visits(call, visits, visitor)
  local kept, number = {}, nil
  for at = 1, #visits - VISIT + 1, VISIT do
    local who, when, which = struct.unpack('>c4I2I3', visits, at)
    local age = (call.tick - when) % 65536
    if age < call.lasting or age > 65536 - call.lasting then -- second case: the time is of a process whose clock is ahead
      kept[#kept + 1] = string.sub(visits, at, at + VISIT - 1)
      if who == visitor then number = which end
    end
  end
  return kept, number
end

local function store(call, bucket, field, number, first, city, kept, visitor)
  kept[#kept + 1] = struct.pack('>c4I2I3', visitor, call.tick, math.min(number, 16777215))
  local room = math.floor((COMPACT - HEAD - #city) / VISIT)
  while #kept > 1 and (#kept > VISITS or #kept > room) do table.remove(kept, 1) end
  redis.call('HSET', bucket, field, struct.pack('>I4I4B', number, first, #city) .. city .. table.concat(kept))
end

local function too_long(bucket, field)
  local length = redis.pcall('HSTRLEN', bucket, field)
  return type(length) == 'number' and length > LONGEST
end

local function history(call, batch, bucket, field, visitor, city)
  -- A long value costs time whenever it is read. After the first one, this call asks for lengths before values.
  if call.wary and (too_long(bucket, field) or too_long(bucket, '_')) then return 8, 0, 0, '' end
  local stored = redis.pcall('HMGET', bucket, field, '_')
  if stored.err then return 8, 0, 0, '' end -- the key is not a hash
  if stored[2] and #stored[2] > LONGEST then call.wary = true end
  local number, first, where, visits = 0, 0, '', ''
  if stored[1] then
    number, first, where, visits = parse(stored[1], call.now)
    if not number then
      call.wary = call.wary or #stored[1] > LONGEST
      return 8, 0, 0, ''
    end
  end
  if not (stored[2] or complete_from_birth(call, batch)) then return 0, number, first, where end
  if visitor == '' then return 2, number, first, where end
  local kept, earlier = recent_visits(call, visits, visitor)
  if earlier then return 2, earlier, first, where end
  if number == 0 then first, where = call.now, city end
  number = math.min(number + 1, MOST)
  store(call, bucket, field, number, first, where, kept, visitor)
  return 6, number, first, where
end

local function own_timeline(batch, index)
  local own = redis.pcall('HMGET', batch.name .. ':x', index, '_')
  if own.err then return 0, false end
  return (own[1] or own[2]) and 1 or 0, own[1]
end

local function check(field, visitor, city, index)
  local right = field and visitor and city and index
    and FIELDS[field]
    and (#visitor == 0 or #visitor == 4) and #city <= CITY
    and (index == '' or (#index <= 11 and string.match(index, '^%d+$')))
  if not right then error(REFUSED) end
end

local function items(keys, args)
  local now, lasting = tonumber(args[1]), tonumber(args[2])
  if not (now and lasting and now >= 0 and now <= MOST and lasting > 0 and lasting <= DAY) then
    error(REFUSED)
  end
  if #keys > QUERIES or #args ~= 3 + 4 * #keys then error(REFUSED) end
  now = math.floor(now)
  local call = {
    now = now, tick = math.floor(now / 10) % 65536, lasting = math.ceil(lasting / 10), evicting = args[3] ~= '0',
    batches = {},
  }
  local replies = {}
  for i, bucket in ipairs(keys) do
    local at, to = 4 * i, 5 * i
    local field, visitor, city, index = args[at], args[at + 1], args[at + 2], args[at + 3]
    check(field, visitor, city, index)
    local batch = batch_of(call, bucket)
    replies[to - 4], replies[to - 3], replies[to - 2], replies[to - 1], replies[to] = 0, 0, 0, '', false
    if batch.there then
      local loaded, timeline = 0, false
      if index ~= '' then loaded, timeline = own_timeline(batch, index) end
      local flags, number, first, where = history(call, batch, bucket, field, visitor, city)
      replies[to - 4], replies[to - 3], replies[to - 2], replies[to - 1] = loaded + flags, number, first, where
      replies[to] = timeline
    end
  end
  return replies
end

redis.register_function('@ITEMS@', items)
"""
LIBRARY: Final = f"zpcode_v{VERSION}_{hashlib.sha256(_TEXT.encode()).hexdigest()[:12]}"
PATTERN: Final = "zpcode_v*"
"""A pattern of FUNCTION LIST for the libraries of all versions."""
ITEMS: Final = f"{LIBRARY}_items"
"""The function that reads and counts items; its text describes arguments and reply."""
SOURCE: Final = f"#!lua name={LIBRARY}{_TEXT.replace('@ITEMS@', ITEMS)}"
"""The library as FUNCTION LOAD takes it."""
_NAME: Final = re.compile(r"zpcode_v([0-9]{1,9})_[0-9a-f]{12}")


def version_of(library: str) -> int | None:
    """The version of a library by its name; None for a name that is not of this service."""
    match = _NAME.fullmatch(library)
    return None if match is None else int(match[1])
