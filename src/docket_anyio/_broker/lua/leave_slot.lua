-- leave_slot: a run gives back its slot, or does not come for it, and those who wait go on.
-- KEYS slots
-- ARGV prefix key generation limit stale taken_at renewal
--   taken_at is empty where the run has no slot, renewal where no renewal is without an answer
-- returns how many go on

local limit, key = limit_of(KEYS[1], ARGV[1]), ARGV[2]
if redis.call('HGET', limit.woken, key) == ARGV[3] then
  redis.call('HDEL', limit.woken, key)
end
-- At another time it was taken over: it is not this run's any more.
local held = tonumber(redis.call('ZSCORE', limit.slots, key) or '')
if held and (held == tonumber(ARGV[6]) or held == tonumber(ARGV[7])) then
  redis.call('ZREM', limit.slots, key)
end
if redis.call('XLEN', limit.waiters) == 0 then
  return 0
end
redis.call('ZREMRANGEBYSCORE', limit.slots, '-inf', ARGV[5])
return wake(limit, tonumber(ARGV[4]))
