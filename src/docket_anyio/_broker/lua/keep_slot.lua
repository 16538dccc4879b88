-- keep_slot: a run that goes on renews its slot; one that was thought dead and lost it takes another if there is room.
-- KEYS slots
-- ARGV key limit taken_at renewal seconds
-- returns 1 where it has a slot now, else 0

local held = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')
local ours = held == tonumber(ARGV[3]) or held == tonumber(ARGV[4])
if ours or (not held and redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2])) then
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
  return 1
end
return 0
