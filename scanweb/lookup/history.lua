-- Reads items: their own status, their history, and whether these views of them count. On a cluster all queries of one
-- call are about items of one batch (their keys share a slot); on a single server they may be about any items.
-- KEYS  one history bucket for each query: the only keys that are written. The other keys that are read share their slot
--       and are not among KEYS, because then the scan service would need the right to write them.
-- ARGV  1 now (s)  2 seconds a visit lasts  3 '1' where a missing entry proves nothing (this Redis evicts keys)
--       then for each query: field in the bucket, visitor (4 bytes; empty: this view does not count), city,
--       index of the item where items of its batch have a timeline of their own (otherwise empty)
-- Reply for each query: empty where the batch card is gone (nothing is written to a Redis that was emptied), otherwise
--   flags (u8), the number of this view or of the last one (u32), time of the first (u32), length of its city (u8), city,
--   timeline as stored. The flags:
--   1  the timeline was asked for: if it is missing, the item has none
--   2  the history is complete
--   4  this view was counted now
--
-- A history is MessagePack of [scans, time of the first, its city, visits]. Visits are records of 9 bytes: visitor (4),
-- time in tens of seconds modulo 65536 (2), number of the view (3). There are at most four, and fewer where a history
-- would exceed 64 bytes: a longer one would turn its whole bucket from a compact list into a hash table.
local VISIT, ENTRY = 9, 64
local now, evicting = tonumber(ARGV[1]), ARGV[3] == '1'
local tick, lasting = math.floor(now / 10) % 65536, math.ceil(tonumber(ARGV[2]) / 10)
local batches = {}

local function batch_of(bucket)
  local name = string.match(bucket, '^(.-}):h:')
  local batch = batches[name]
  if batch == nil then
    batch = { name = name, there = redis.call('EXISTS', name) == 1 }
    batches[name] = batch
  end
  return batch
end

local function complete_from_birth(batch)
  if batch.complete == nil then batch.complete = not evicting and redis.call('EXISTS', batch.name .. ':hc') == 1 end
  return batch.complete
end

-- The visits that have not ended, oldest first, and the view number of this visitor among them (nil: none).
local function recent_visits(visits, visitor)
  local kept, number = {}, nil
  for at = 1, #visits - VISIT + 1, VISIT do
    local who, when, which = struct.unpack('>c4I2I3', visits, at)
    local age = (tick - when) % 65536
    if age < lasting or age > 65536 - lasting then -- second case: the time is of a process whose clock is ahead
      kept[#kept + 1] = string.sub(visits, at, at + VISIT - 1)
      if who == visitor then number = which end
    end
  end
  return kept, number
end

local function count(bucket, field, entry, kept, visitor, city)
  entry[1] = entry[1] + 1
  if entry[1] == 1 then entry[2] = now; entry[3] = city end
  kept[#kept + 1] = struct.pack('>c4I2I3', visitor, tick, math.min(entry[1], 16777215))
  if #kept > 4 then table.remove(kept, 1) end
  entry[4] = table.concat(kept)
  local packed = cmsgpack.pack(entry)
  while #packed > ENTRY and #kept > 1 do
    table.remove(kept, 1)
    entry[4] = table.concat(kept)
    packed = cmsgpack.pack(entry)
  end
  redis.call('HSET', bucket, field, packed)
end

local function reply_to(bucket, field, visitor, city, index)
  local batch = batch_of(bucket)
  if not batch.there then return '' end
  local flags, timeline = 0, ''
  if index ~= '' then
    local own = redis.call('HMGET', batch.name .. ':x', index, '_')
    timeline = own[1] or ''
    if own[1] or own[2] then flags = 1 end
  end
  local stored = redis.call('HMGET', bucket, field, '_')
  local entry = stored[1] and cmsgpack.unpack(stored[1]) or {0, 0, ''}
  local number = entry[1]
  if stored[2] or complete_from_birth(batch) then
    flags = flags + 2
    if visitor ~= '' then
      local kept, earlier = recent_visits(entry[4] or '', visitor)
      if earlier then
        number = earlier
      else
        count(bucket, field, entry, kept, visitor, city)
        number = entry[1]
        flags = flags + 4
      end
    end
  end
  return struct.pack('>BI4I4B', flags, number, entry[2], #entry[3]) .. entry[3] .. timeline
end

local replies = {}
for i, bucket in ipairs(KEYS) do
  local at = 4 * i
  replies[i] = reply_to(bucket, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
return replies
