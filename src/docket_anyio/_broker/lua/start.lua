-- start: a worker begins the run of a delivery.
-- KEYS runs progress known stream_id state_channel stream paused
-- ARGV prefix key generation receipt group worker now started_at event time_to_live expired expired_event
--   expired is the error of one that comes too late
-- returns "started" | "superseded" | "cancelled" | "expired" | "gone", or "paused" where nothing was changed

local runs, stream, generation, receipt, group = KEYS[1], KEYS[6], ARGV[3], ARGV[4], ARGV[5]
local worker, seconds = ARGV[6], ARGV[10]
-- The lease may have run out since the claim: then another worker starts it, or has ended it.
local holder = holder_of(runs, stream, group, receipt, worker)
if holder and holder ~= worker then
  return 'gone'
end
if superseded(runs, generation, ARGV[1], receipt ~= '' and holder and receipt) then
  acknowledge(runs, stream, group, receipt)
  -- Of a worker that has begun the run before and died.
  drop_progress(KEYS[2], generation)
  return 'superseded'
end
local record = redis.call('HMGET', runs, 'state', 'known', 'stream_id')
local state = record[1]
if is_cancelled(runs) then
  -- One that was cleared in this worker's hands was announced then.
  if acknowledge(runs, stream, group, receipt) then
    drop_progress(KEYS[2], generation)
    conclude_cancelled(runs, KEYS[5], ARGV[2], seconds, ARGV[8])
  end
  return 'cancelled'
end
if not holder or ended(state, generation) then
  acknowledge(runs, stream, group, receipt)
  return 'gone'
end
local expires = expiry_of(runs)
if expires and tonumber(expires) <= tonumber(ARGV[7]) then
  local woken = woken_place(runs)
  acknowledge(runs, stream, group, receipt)
  redis.call('HDEL', runs, 'known', 'stream_id', 'woken_from', 'woken_limit', 'woken')
  redis.call('DEL', KEYS[3], KEYS[4])
  drop_progress(KEYS[2], generation)
  redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', ARGV[8], 'error', ARGV[11])
  expire(runs, seconds)
  publish(KEYS[5], ARGV[12])
  pass_on(woken, ARGV[1])
  return 'expired'
end
if redis.call('EXISTS', KEYS[7]) == 1 then
  return 'paused'
end
if state == 'queued' and record[3] and not record[2] then
  -- Woken from the line for a slot, by pydocket or by us: it is not to stand behind those who came later.
  redis.call('HSET', runs, 'woken', '1')
end
redis.call('HSET', runs, 'state', 'running', 'worker', worker, 'started_at', ARGV[8])
if receipt ~= '' then
  redis.call('HSET', runs, 'anyio:receipt', receipt)
end
redis.call('HDEL', runs, 'known', 'stream_id', 'woken_from', 'woken_limit')
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[2], 'current', '0', 'total', '100', 'generation', generation)
publish(KEYS[5], ARGV[9])
return 'started'
