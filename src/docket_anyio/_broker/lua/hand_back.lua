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
local run = { prefix = prefix, key = ARGV[2], runs = runs, progress = KEYS[3], channel = KEYS[4] }
local reason = stays_ended(run, generation, receipt, ARGV[8], ARGV[9])
if reason then
  return reason
end
local message = message_from(11)
message[#message + 1] = 'generation'
message[#message + 1] = generation
enqueue(prefix, runs, message)
redis.call('HSET', runs, 'known', ARGV[7])
redis.call('HDEL', runs, 'worker', 'started_at')
publish(KEYS[4], ARGV[10])
return 'queued'
