-- schedule: a key is added, or replaces what waits or runs under it.
-- KEYS runs parked queue stream known stream_id state_channel wake_channel strikes
-- ARGV key when immediate replace event last_strike expected_generation message...
-- returns the generation, 0 where the key is taken, -1 where the caller does not know the last strike, or -2 where it
-- expected an older generation (0: any will do)

local keys = { runs = KEYS[1], parked = KEYS[2], queue = KEYS[3], stream = KEYS[4], wake = KEYS[8] }
local key, when, immediate, replace, event = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4] == '1', ARGV[5]
local newest = redis.call('XREVRANGE', KEYS[9], '+', '-', 'COUNT', 1)[1]
if newest and newest[1] ~= ARGV[6] then
  return -1
end
local record = redis.call('HMGET', keys.runs, 'state', 'known', 'stream_id', 'generation')
local state, known, waiting, generation = record[1], record[2], record[3], record[4]
local expected = tonumber(ARGV[7])
if expected > 0 and generation and tonumber(generation) > expected then
  return -2
end

if replace then
  if waiting then
    redis.call('XDEL', keys.stream, waiting)
  end
  redis.call('ZREM', keys.queue, key)
  redis.call('DEL', keys.parked, KEYS[5], KEYS[6])
elseif known or state == 'running' or redis.call('EXISTS', KEYS[5]) == 1 then
  return 0
end

if state and TERMINAL[state] then
  -- The next run must not inherit the time to live of the last.
  redis.call('DEL', keys.runs)
  if generation then
    redis.call('HSET', keys.runs, 'generation', generation)
  end
end
generation = place(keys, key, when, immediate, message_from(8))
publish(KEYS[7], event)
return generation
