-- wake_waiters: slots of dead workers come back, and those who wait go on.
-- KEYS slots
-- ARGV prefix limit stale safeguard
-- returns 1 where the task that the safeguard is for still waits, else 0

local prefix, safeguard = ARGV[1], ARGV[4]
local limit = limit_of(KEYS[1], prefix)
if redis.call('XLEN', limit.waiters) > 0 then
  redis.call('ZREMRANGEBYSCORE', limit.slots, '-inf', ARGV[3])
  wake(limit, tonumber(ARGV[2]), safeguard)
end
local key = guarded_by(safeguard)
if key and waiting_place(prefix .. ':runs:' .. key) == limit.waiters then
  return 1
end
return 0
