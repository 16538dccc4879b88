-- cancel: a waiting key never starts, and the worker of a running one is asked to stop it.
-- KEYS runs known parked queue stream_id progress state_channel cancel_channel
-- ARGV prefix key completed_at time_to_live event
-- returns the state before, or "" where the key was unknown

-- Seconds, for a run that takes its time to stop.
local LONGEST_RUN = 86400
local runs, prefix, key = KEYS[1], ARGV[1], ARGV[2]
local record = redis.call('HMGET', runs, 'state', 'stream_id')
local state, queued = record[1] or '', record[2]
local woken = woken_place(runs)
if queued then
  redis.call('XDEL', stream_with(prefix, queued), queued)
end
leave_line(prefix, runs, key)
redis.call('ZREM', KEYS[4], key)
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
if not TERMINAL[state] then
  redis.call('HDEL', runs, 'known', 'stream_id')
  redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', ARGV[3])
  -- The run expires it when it ends. A key that is added again before that must count on from here.
  expire(runs, state == 'running' and math.max(LONGEST_RUN, ARGV[4]) or ARGV[4])
end
if state == 'scheduled' or state == 'queued' then
  publish(KEYS[7], ARGV[5])
end
redis.call('PUBLISH', KEYS[8], key)
pass_on(woken, prefix)
return state
