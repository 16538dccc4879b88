-- hand_back: a delivery returns to the queue as it was, its attempt not counted.
-- KEYS runs stream progress state_channel
-- ARGV prefix key generation receipt group worker when time_to_live now event message...
--   now is the end of what was cancelled meanwhile, as text
-- returns "queued" | "superseded" | "cancelled" | "gone"

local runs, stream, prefix, generation, receipt, group = KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[4], ARGV[5]
-- A repeated call finds its delivery settled, and one that another worker has taken over is left to it.
if holder_of(runs, stream, group, receipt) ~= ARGV[6] then
  return 'gone'
end
acknowledge(runs, stream, group, receipt)
drop_progress(KEYS[3], generation)
if superseded(runs, generation, prefix, receipt) then
  return 'superseded'
end
if ended(redis.call('HGET', runs, 'state'), generation) then
  return 'gone'
end
if is_cancelled(runs) then
  conclude_cancelled(runs, KEYS[4], ARGV[2], ARGV[8], ARGV[9])
  return 'cancelled'
end
local message = message_from(11)
message[#message + 1] = 'generation'
message[#message + 1] = generation
enqueue(prefix, runs, message)
redis.call('HSET', runs, 'known', ARGV[7])
redis.call('HDEL', runs, 'worker', 'started_at')
publish(KEYS[4], ARGV[10])
return 'queued'
