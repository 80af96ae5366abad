"""The scripts with which the projector writes cards and heads: each changes a key only if it is as it was read."""

from __future__ import annotations

from typing import Final

_DAMAGE: Final = ("WRONGTYPE", "equal or smaller than the target stream top item", "exhausted the last possible ID")

# Replace a card only by a newer one, so that a write that a frozen server executes late undoes nothing.
NEWER: Final = """
local old = ARGV[2] == '' and redis.call('GET', KEYS[1]) or (ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[2]))
if old and string.sub(old, 1, 8) >= string.sub(ARGV[1], 1, 8) then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
return 1
"""
# Advance the head, never back, and only within its generation.
FORWARD: Final = """
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'revision')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2])
return 1
"""
# Write the head of a filled shard if the token of this filling still exists: a server that was emptied has lost it.
BEGIN: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'revision', ARGV[3], 'marks', ARGV[5], 'code', ARGV[6], 'evicting', ARGV[7])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'slots', ARGV[4]) end
redis.call('DEL', KEYS[2])
return 1
"""
# Replace the marks of the same generation, never by those of a shorter audit log, except a forgery (ARGV[5]).
MARK: Final = """
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
local old = redis.call('HGET', KEYS[1], 'marks')
if old and (ARGV[5] == '' or old ~= ARGV[5]) and (cjson.decode(old).audit or 0) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'marks', ARGV[2], 'code', ARGV[4])
return 1
"""


def is_damage(error: Exception) -> bool:
    """Whether Redis refused a write because of what is there: a key of another type, or a stream that ends at its last id."""
    return any(words in str(error) for words in _DAMAGE)
