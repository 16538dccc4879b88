-- progress: how far a run has come: more of it is done, it is longer than thought, or there is something to say.
-- KEYS progress runs
-- ARGV key generation updated_at what value
-- returns {current, total, message or false}, or false where this is not the run that the key is about

local progress, runs, generation, what, value = KEYS[1], KEYS[2], ARGV[2], ARGV[4], ARGV[5]
local tagged = redis.call('HGET', progress, 'generation')
if tagged then
  if tonumber(generation) > 0 and (tonumber(tagged) or 0) > tonumber(generation) then
    return false
  end
else
  -- Begun by whoever writes first. After the end nobody would delete it again.
  local state = redis.call('HGET', runs, 'state')
  if not state or TERMINAL[state] or superseded(runs, generation) then
    return false
  end
end

if what == 'increment' then
  redis.call('HINCRBY', progress, 'current', value)
elseif what == 'set_total' then
  redis.call('HSET', progress, 'total', value)
elseif what == 'set_message' then
  redis.call('HSET', progress, 'message', value)
else
  redis.call('HDEL', progress, 'message')
end
redis.call('HSET', progress, 'updated_at', ARGV[3])

-- As text: Lua's numbers cannot hold every integer.
local now = redis.call('HMGET', progress, 'current', 'total', 'message')
local current, total, message = now[1] or '0', now[2] or '100', now[3]
redis.call('PUBLISH', progress, '{"type":"progress","key":' .. quote(ARGV[1]) .. ',"current":' .. current
  .. ',"total":' .. total .. ',"message":' .. (message and quote(message) or 'null')
  .. ',"updated_at":' .. quote(ARGV[3]) .. '}')
return { current, total, message }
