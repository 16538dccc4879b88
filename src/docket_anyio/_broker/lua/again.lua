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
local run = { prefix = keys.prefix, key = key, runs = keys.runs, progress = KEYS[5], channel = KEYS[6] }
local reason = stays_ended(run, generation, receipt, ARGV[8], ARGV[9])
if reason then
  return reason
end
-- A retry is of the same execution, and so is to begin in the same time.
local expires = ARGV[11] == '' and expiry_of(keys.runs)
place(keys, key, ARGV[6], ARGV[7] == '1', message_from(12), expires)
publish(KEYS[6], ARGV[10])
publish(KEYS[6], ARGV[11])
return 'again'
