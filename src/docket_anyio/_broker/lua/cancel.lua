-- cancel: a waiting key never starts, and the worker of a running one is asked to stop it.
-- KEYS runs stream known parked queue stream_id progress state_channel cancel_channel
-- ARGV key completed_at time_to_live event
-- returns the state before, or "" where the key was unknown

-- Seconds, for a run that takes its time to stop.
local LONGEST_RUN = 86400
local runs, key = KEYS[1], ARGV[1]
local record = redis.call('HMGET', runs, 'state', 'stream_id')
local state, waiting = record[1] or '', record[2]
if waiting then
  redis.call('XDEL', KEYS[2], waiting)
end
redis.call('ZREM', KEYS[5], key)
redis.call('DEL', KEYS[3], KEYS[4], KEYS[6], KEYS[7])
if not TERMINAL[state] then
  redis.call('HDEL', runs, 'known', 'stream_id')
  redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', ARGV[2])
  -- The run expires it when it ends. A key that is added again before that must count on from here.
  expire(runs, state == 'running' and math.max(LONGEST_RUN, ARGV[3]) or ARGV[3])
end
if state == 'scheduled' or state == 'queued' then
  publish(KEYS[8], ARGV[4])
end
redis.call('PUBLISH', KEYS[9], key)
return state
