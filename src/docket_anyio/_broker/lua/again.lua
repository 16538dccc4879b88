-- again: a run has ended, and its key runs once more: a retry, or the next of a perpetual task.
-- KEYS runs parked queue stream progress state_channel wake_channel
-- ARGV prefix key generation receipt group when immediate time_to_live now event ended_event message...
--   now is the end of what was cancelled meanwhile, as text
-- returns "again" | "superseded" | "cancelled" | "gone"

local keys = { prefix = ARGV[1], runs = KEYS[1], parked = KEYS[2], queue = KEYS[3], wake = KEYS[7] }
local key, generation, receipt = ARGV[2], ARGV[3], ARGV[4]
-- A repeated call finds its delivery settled, and changes nothing.
if not acknowledge(keys.runs, KEYS[4], ARGV[5], receipt) then
  return 'gone'
end
drop_progress(KEYS[5], generation)
if superseded(keys.runs, generation, keys.prefix, receipt) then
  return 'superseded'
end
if ended(redis.call('HGET', keys.runs, 'state'), generation) then
  return 'gone'
end
if is_cancelled(keys.runs) then
  conclude_cancelled(keys.runs, KEYS[6], key, ARGV[8], ARGV[9])
  return 'cancelled'
end
-- A retry is of the same execution, and so is to begin in the same time.
local expires = ARGV[11] == '' and expiry_of(keys.runs)
place(keys, key, ARGV[6], ARGV[7] == '1', message_from(12), expires)
publish(KEYS[6], ARGV[10])
publish(KEYS[6], ARGV[11])
return 'again'
