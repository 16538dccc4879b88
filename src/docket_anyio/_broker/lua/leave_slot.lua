-- leave_slot: a run gives back its slot, or does not come for it, and those who wait go on.
-- KEYS slots
-- ARGV prefix key generation limit taken_at stale
--   taken_at is when the slot was taken or renewed last; empty where the run has none
-- returns how many go on

local limit, key = limit_of(KEYS[1], ARGV[1]), ARGV[2]
if redis.call('HGET', limit.woken, key) == ARGV[3] then
  redis.call('HDEL', limit.woken, key)
end
-- At another time it was taken over: it is not this run's any more.
local held = redis.call('ZSCORE', limit.slots, key)
if held and tonumber(held) == tonumber(ARGV[5]) then
  redis.call('ZREM', limit.slots, key)
end
if redis.call('XLEN', limit.waiters) == 0 then
  return 0
end
redis.call('ZREMRANGEBYSCORE', limit.slots, '-inf', ARGV[6])
return wake(limit, tonumber(ARGV[4]))
