-- hand_back: a delivery returns to the queue as it was, its attempt not counted.
-- KEYS runs stream progress state_channel
-- ARGV key generation receipt group worker when time_to_live now event message...
--   now is the end of what was cancelled meanwhile, as text
-- returns "queued" | "superseded" | "cancelled" | "gone"

local runs, stream, generation = KEYS[1], KEYS[2], ARGV[2]
-- A repeated call finds its delivery settled, and one that another worker has taken over is left to it.
if holder_of(runs, stream, ARGV[4], ARGV[3]) ~= ARGV[5] then
  return 'gone'
end
acknowledge(runs, stream, ARGV[4], ARGV[3])
drop_progress(KEYS[3], generation)
if superseded(runs, generation, stream, ARGV[3]) then
  return 'superseded'
end
if ended(redis.call('HGET', runs, 'state'), generation) then
  return 'gone'
end
if is_cancelled(runs) then
  conclude_cancelled(runs, KEYS[4], ARGV[1], ARGV[7], ARGV[8])
  return 'cancelled'
end
local message = message_from(10)
message[#message + 1] = 'generation'
message[#message + 1] = generation
local id = redis.call('XADD', stream, '*', unpack(message))
redis.call('HSET', runs, 'state', 'queued', 'known', ARGV[6], 'stream_id', id)
redis.call('HDEL', runs, 'worker', 'started_at')
publish(KEYS[4], ARGV[9])
return 'queued'
