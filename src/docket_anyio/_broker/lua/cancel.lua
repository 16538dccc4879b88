-- cancel: a waiting key never starts, and the worker of a running one is asked to stop it.
-- KEYS runs known parked queue stream_id progress state_channel cancel_channel workers honouring_workers
-- ARGV prefix key completed_at time_to_live event heard_since reason grace
--   heard_since is the last heartbeat of those who count as gone; reason and grace, in seconds, are empty where none is
-- returns {"unknown" | "waiting" | "ended" | "running", generation}

-- Seconds, for a run that takes its time to stop. When it ends, it expires its record. A key that is added again before
-- that must count on from here.
local LONGEST_RUN = 86400
local runs, prefix, key, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('HMGET', runs, 'state', 'stream_id', 'generation', 'anyio:cancel_requested', 'completed_at',
  'anyio:cancel_early', 'anyio:receipt', 'started_at')
local state, queued, generation = record[1], record[2], record[3] or '0'

-- A request that was made before stays as it was.
local function request()
  if record[4] == generation then
    return
  end
  redis.call('HDEL', runs, 'anyio:cancel_reason', 'anyio:cancel_grace', 'anyio:cancel_early')
  redis.call('HSET', runs, 'anyio:cancel_requested', generation, 'anyio:cancel_at', now)
  if ARGV[7] ~= '' then
    redis.call('HSET', runs, 'anyio:cancel_reason', ARGV[7])
  end
  if ARGV[8] ~= '' then
    redis.call('HSET', runs, 'anyio:cancel_grace', ARGV[8])
  end
end

-- Also where nothing is to be stopped as far as the record knows: an older run of the key may go on.
redis.call('PUBLISH', KEYS[8], key)
if state == 'running' then
  request()
  if who_ignores(KEYS[9], KEYS[10], ARGV[6]) then
    -- A worker of pydocket's would run it again if it got hold of it, and only a state keeps it from that.
    redis.call('DEL', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
    redis.call('HDEL', runs, 'known', 'stream_id')
    redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', now, 'anyio:cancel_early', now)
    expire(runs, math.max(LONGEST_RUN, ARGV[4]))
  elseif not record[7] or #redis.call('XRANGE', stream_with(prefix, record[7]), record[7], record[7]) == 0 then
    -- Without its message it is never delivered again: if its worker has died, nobody else would end it.
    expire(runs, math.max(LONGEST_RUN, ARGV[4]))
    expire(KEYS[6], LONGEST_RUN)
  end
  return { 'running', generation }
end

local woken = woken_place(runs)
if queued then
  redis.call('XDEL', stream_with(prefix, queued), queued)
end
leave_line(prefix, runs, key)
local left = redis.call('ZREM', KEYS[4], key) + redis.call('DEL', KEYS[2], KEYS[3], KEYS[5])
redis.call('DEL', KEYS[6])
if state and TERMINAL[state] then
  -- Whoever runs it has not ended it yet: one of ours has it in hand, or it would say when.
  if state == 'cancelled' and record[5] and (record[7] or record[6] == record[5]) then
    request()
    redis.call('HSET', runs, 'anyio:cancel_early', record[5])
    return { 'running', generation }
  end
  -- A repeated call, whose first answer was lost.
  local repeated = state == 'cancelled' and record[5] == now and not record[8]
  return { repeated and 'waiting' or 'ended', generation }
end
if not state and left == 0 then
  return { 'unknown', generation }
end
redis.call('HDEL', runs, 'known', 'stream_id')
redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', now)
if ARGV[7] ~= '' then
  request()
end
expire(runs, ARGV[4])
if state then
  publish(KEYS[7], ARGV[5])
end
pass_on(woken, prefix)
return { 'waiting', generation }
