-- promote: parked messages that are due go to the stream. Those whose key has ended or was scheduled anew are dropped.
-- KEYS queue
-- ARGV prefix now limit
-- returns {how many moved, when the next is due or false}

local queue, prefix = KEYS[1], ARGV[1]

local function is_current(runs, message)
  local generation = tonumber(field(message, 'generation') or '') or 0
  if generation == 0 then
    return true
  end
  local record = redis.call('HMGET', runs, 'generation', 'state')
  return tonumber(record[1]) == generation and record[2] == 'scheduled'
end

local moved = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local parked, runs = prefix .. ':' .. key, prefix .. ':runs:' .. key
  local message = redis.call('HGETALL', parked)
  if #message > 0 and is_current(runs, message) then
    enqueue(prefix, runs, message)
    redis.call('PUBLISH', prefix .. ':state:' .. key, state_event(key, 'queued', 'when', field(message, 'when') or ''))
    moved = moved + 1
  end
  redis.call('DEL', parked)
  redis.call('ZREM', queue, key)
end
return { moved, redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2] or false }
