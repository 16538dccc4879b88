-- promote: parked messages that are due go to the stream.
-- KEYS queue stream
-- ARGV prefix now limit
-- returns {how many moved, when the next is due or false}

local queue, stream, prefix = KEYS[1], KEYS[2], ARGV[1]
local moved = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local parked, runs = prefix .. ':' .. key, prefix .. ':runs:' .. key
  local message = redis.call('HGETALL', parked)
  if #message > 0 then
    local id = redis.call('XADD', stream, '*', unpack(message))
    redis.call('DEL', parked)
    redis.call('HSET', runs, 'state', 'queued', 'stream_id', id)
    local when = ''
    for index = 1, #message, 2 do
      if message[index] == 'when' then
        when = message[index + 1]
      end
    end
    redis.call('PUBLISH', prefix .. ':state:' .. key, state_event(key, 'queued', 'when', when))
    moved = moved + 1
  end
  redis.call('ZREM', queue, key)
end
return { moved, redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2] or false }
