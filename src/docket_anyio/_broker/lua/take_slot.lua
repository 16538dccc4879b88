-- take_slot: a run takes a slot of a ConcurrencyLimit, or waits for one on the stream of waiters.
-- KEYS slots runs stream progress state_channel safeguard_runs safeguard_parked queue wake_channel
-- ARGV prefix key generation receipt group limit now asked_at stale abandoned seconds event due safeguard...
--   asked_at is the time of the first try if an answer was lost, else empty; a slot of the same key that was not
--   renewed since abandoned is taken over
-- returns "admitted" | "parked" | "superseded" | "cancelled" | "gone"

local slots, runs, stream = KEYS[1], KEYS[2], KEYS[3]
local prefix, key, generation, receipt = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local max, now, asked_at, stale, abandoned = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local limit = limit_of(slots, prefix)

local function take()
  redis.call('HDEL', runs, 'woken')
  redis.call('ZADD', slots, now, key)
  redis.call('EXPIRE', slots, ARGV[11])
  return 'admitted'
end

local came = redis.call('HGET', runs, 'woken')
if redis.call('HGET', limit.woken, key) == generation then
  redis.call('HDEL', limit.woken, key)
  came = true
end
local held = redis.call('ZSCORE', slots, key)
if held then
  held = tonumber(held)
  -- A try whose answer was lost, or a run whose worker has died. Else an older run of the key goes on.
  if (asked_at and held >= asked_at) or held <= abandoned then
    return take()
  end
else
  if redis.call('ZCARD', slots) >= max then
    redis.call('ZREMRANGEBYSCORE', slots, '-inf', stale)
  end
  local room = came and max - redis.call('ZCARD', slots) or free_slots(limit, max)
  if room > 0 and (came or redis.call('XLEN', limit.waiters) == 0) then
    return take()
  end
end

local record = redis.call('HMGET', runs, 'state', 'generation', 'waiter_stream')
if record[1] == 'scheduled' and record[3] == limit.waiters and tonumber(record[2]) == tonumber(generation) + 1 then
  return 'parked'
elseif superseded(runs, generation) then
  return 'superseded'
elseif is_cancelled(runs) then
  return 'cancelled'
end
local entry = redis.call('XRANGE', stream, receipt, receipt)[1]
if ended(record[1], generation) or not acknowledge(runs, stream, ARGV[5], receipt) or not entry then
  return 'gone'
end

local message = entry[2]
set_field(message, 'generation', tostring(count_generation(runs, message)))
local id = redis.call('XADD', limit.waiters, '*', unpack(message))
redis.call('HSET', runs, 'state', 'scheduled', 'waiter_stream', limit.waiters, 'waiter_entry_id', id,
  'function', field(message, 'function'), 'args', field(message, 'args'), 'kwargs', field(message, 'kwargs'))
redis.call('HDEL', runs, 'stream_id', 'worker', 'started_at', 'woken')
drop_progress(KEYS[4], generation)
publish(KEYS[5], ARGV[12])
begin_anew(KEYS[6])
local keys = { prefix = prefix, runs = KEYS[6], parked = KEYS[7], queue = KEYS[8], wake = KEYS[9] }
place(keys, safeguard_of(key), ARGV[13], false, message_from(14))
-- Where others were to go first although there is room, their time is now.
wake(limit, max)
return 'parked'
