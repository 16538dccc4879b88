-- again: a run has ended, and its key runs once more: a retry, or the next of a perpetual task.
-- KEYS runs parked queue stream progress state_channel wake_channel
-- ARGV key generation receipt group when immediate time_to_live now event ended_event message...
--   now is the end of what was cancelled meanwhile, as text
-- returns "again" | "superseded" | "cancelled" | "gone"

local keys = { runs = KEYS[1], parked = KEYS[2], queue = KEYS[3], stream = KEYS[4], wake = KEYS[7] }
local key, generation = ARGV[1], ARGV[2]
-- A repeated call finds its delivery settled, and changes nothing.
if not acknowledge(keys.runs, keys.stream, ARGV[4], ARGV[3]) then
  return 'gone'
end
drop_progress(KEYS[5], generation)
if superseded(keys.runs, generation, keys.stream, ARGV[3]) then
  return 'superseded'
end
if ended(redis.call('HGET', keys.runs, 'state'), generation) then
  return 'gone'
end
if is_cancelled(keys.runs) then
  conclude_cancelled(keys.runs, KEYS[6], key, ARGV[7], ARGV[8])
  return 'cancelled'
end
-- A retry is of the same execution, and so is to begin in the same time.
local expires = ARGV[10] == '' and expiry_of(keys.runs)
place(keys, key, ARGV[5], ARGV[6] == '1', message_from(11), expires)
publish(KEYS[6], ARGV[9])
publish(KEYS[6], ARGV[10])
return 'again'
