-- hand_back: a delivery returns to the queue as it was, its attempt not counted.
-- KEYS runs stream progress state_channel
-- ARGV key generation receipt group when time_to_live event message...
-- returns "queued" | "superseded" | "cancelled" | "gone"

local runs, stream, generation = KEYS[1], KEYS[2], ARGV[2]
-- A repeated call finds its delivery settled, and changes nothing.
if not acknowledge(stream, ARGV[4], ARGV[3]) then
  return 'gone'
end
drop_progress(KEYS[3], generation)
if superseded(runs, generation) then
  return 'superseded'
end
local state = redis.call('HGET', runs, 'state')
if ended(state, generation) then
  return 'gone'
end
if state == 'cancelled' then
  conclude_cancelled(runs, KEYS[4], ARGV[1], ARGV[6])
  return 'cancelled'
end
local message = message_from(8)
message[#message + 1] = 'generation'
message[#message + 1] = generation
local id = redis.call('XADD', stream, '*', unpack(message))
redis.call('HSET', runs, 'state', 'queued', 'known', ARGV[5], 'stream_id', id)
redis.call('HDEL', runs, 'worker', 'started_at')
publish(KEYS[4], ARGV[7])
return 'queued'
