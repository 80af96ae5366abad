-- One look at one item: its own status, its history, and whether this view of it counts.
-- KEYS  1 history bucket  2 visit: the two it writes. The other three are in the same slot and only read, and are
--       not among KEYS because then the scan service would need the right to write them.
-- ARGV  1 field in the bucket  2 index  3 '1' to count this view  4 now (s)  5 city  6 seconds a visit lasts
--       7 '1' where absence proves nothing (this Redis evicts keys)
--       8 batch card  9 history complete from birth  10 item timelines
-- Answer: empty where the batch card is gone (an emptied Redis is not written to), otherwise
--   flags (1 timelines loaded, 2 history known, 4 this view was counted now), the number of this view or of
--   the last one (u32), time of the first (u32), length of its city (u8), city, timeline as stored.
if redis.call('EXISTS', ARGV[8]) == 0 then return '' end
local flags = 0
local own = redis.call('HMGET', ARGV[10], ARGV[2], '_')
local timeline = own[1]
if timeline or own[2] then flags = 1 end
local found = redis.call('HMGET', KEYS[1], ARGV[1], '_')
local known = found[2] or (ARGV[7] ~= '1' and redis.call('EXISTS', ARGV[9]) == 1)
local entry = found[1] and cmsgpack.unpack(found[1]) or {0, 0, ''}
local number = entry[1]
if known then
  flags = flags + 2
  if ARGV[3] == '1' then
    local seen = redis.call('GET', KEYS[2])
    if seen then
      number = tonumber(seen)
    else
      number = entry[1] + 1
      if number == 1 then entry[2] = tonumber(ARGV[4]); entry[3] = ARGV[5] end
      entry[1] = number
      redis.call('HSET', KEYS[1], ARGV[1], cmsgpack.pack(entry))
      redis.call('SET', KEYS[2], number, 'EX', ARGV[6])
      flags = flags + 4
    end
  end
end
return struct.pack('>BI4I4B', flags, number, entry[2], #entry[3]) .. entry[3] .. (timeline or '')
