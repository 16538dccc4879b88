-- schedule: a key is added, or replaces what waits or runs under it.
-- KEYS runs parked queue known stream_id state_channel wake_channel strikes workers honouring_expiry honouring_priority
-- ARGV prefix key when immediate replace event last_strike expected_generation expires heard_since message...
--   expires is empty where it never does; heard_since is the last heartbeat of those who count as gone
-- returns the generation, 0 where the key is taken, -1 where the caller does not know the last strike, -2 where it
-- expected an older generation (0: any will do), or {what, the name of a worker that does not honour it}

local prefix, key, when, immediate, replace = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5] == '1'
local keys = { prefix = prefix, runs = KEYS[1], parked = KEYS[2], queue = KEYS[3], wake = KEYS[7] }
local newest = redis.call('XREVRANGE', KEYS[8], '+', '-', 'COUNT', 1)[1]
if newest and newest[1] ~= ARGV[7] then
  return -1
end
local expires, message = ARGV[9] ~= '' and ARGV[9], message_from(11)
local late = expires and who_ignores(KEYS[9], KEYS[10], ARGV[10])
if late then
  return { 'expiry', late }
end
local blind = field(message, 'anyio:priority') and who_ignores(KEYS[9], KEYS[11], ARGV[10])
if blind then
  return { 'priority', blind }
end
local record = redis.call('HMGET', keys.runs, 'state', 'known', 'stream_id', 'waiter_entry_id', 'generation')
local state, known, queued, parked, current = record[1], record[2], record[3], record[4], record[5]
local expected = tonumber(ARGV[8])
if expected > 0 and current and tonumber(current) > expected then
  return -2
end
local woken = woken_place(keys.runs)

if replace then
  if queued then
    redis.call('XDEL', stream_with(prefix, queued), queued)
  end
  redis.call('ZREM', keys.queue, key)
  redis.call('DEL', keys.parked, KEYS[4], KEYS[5])
  leave_line(prefix, keys.runs, key)
elseif known or (state == 'running' and not is_cancelled(keys.runs)) or redis.call('EXISTS', KEYS[4]) == 1 then
  return 0
elseif (state == 'scheduled' and parked) or (state == 'queued' and queued) then
  -- It waits for a slot, or was woken from that: there is no `known` then.
  return 0
end

begin_anew(keys.runs)
local generation = place(keys, key, when, immediate, message, expires)
publish(KEYS[6], ARGV[6])
pass_on(woken, prefix)
return generation
