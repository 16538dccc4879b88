-- clear: what waits is cancelled, a part of the queue and of the stream at a time. What runs keeps its message.
-- KEYS queue stream
-- ARGV prefix completed_at time_to_live batch group after
-- returns {how many tasks were cancelled, the last stream entry looked at or false where all were}

local queue, stream = KEYS[1], KEYS[2]
local prefix, completed_at, seconds, batch, group = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

-- Tells whether the key was waiting. One that is scheduled is found in the queue, also where a message of it that was
-- superseded is still on the stream.
local function cancel(key, on_stream)
  local runs = prefix .. ':runs:' .. key
  local state = redis.call('HGET', runs, 'state')
  redis.call('DEL', prefix .. ':known:' .. key, prefix .. ':stream-id:' .. key)
  if state == 'queued' or (state == 'scheduled' and not on_stream) then
    leave_line(prefix, runs, key)
    redis.call('HDEL', runs, 'known', 'stream_id', 'woken_from', 'woken_limit', 'woken')
    redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', completed_at)
    redis.call('DEL', prefix .. ':progress:' .. key)
    redis.call('PUBLISH', prefix .. ':state:' .. key, state_event(key, 'cancelled', 'completed_at', completed_at))
    expire(runs, seconds)
    return true
  end
  return false
end

-- What waits for a slot is found by its safeguard, which is nobody's task.
local function cancel_guarded(safeguard)
  local key = guarded_by(safeguard)
  if not waiting_place(prefix .. ':runs:' .. key) then
    drop_safeguard(prefix, key)
    return false
  end
  return cancel(key)
end

local cleared = 0
local parked = redis.call('ZRANGE', queue, 0, batch - 1)
for _, key in ipairs(parked) do
  redis.call('DEL', prefix .. ':' .. key)
  if not guarded_by(key) then
    cancel(key)
    cleared = cleared + 1
  elseif cancel_guarded(key) then
    cleared = cleared + 1
  end
end
if #parked > 0 then
  redis.call('ZREM', queue, unpack(parked))
end

-- Without a group nothing can be pending. One by one: among the pending may be any number that are deleted already.
local grouped = not redis.pcall('XPENDING', stream, group).err
local entries = redis.call('XRANGE', stream, '(' .. ARGV[6], '+', 'COUNT', batch)
for _, entry in ipairs(entries) do
  local id, message = entry[1], entry[2]
  local key, generation = field(message, 'key'), field(message, 'generation')
  local in_hand = grouped and #redis.call('XPENDING', stream, group, id, id, 1) > 0
  if not in_hand then
    redis.call('XDEL', stream, id)
  end
  -- One that is in a worker's hands and not started yet will be refused there.
  local cancelled, untracked
  if key and guarded_by(key) then
    cancelled = cancel_guarded(key)
  else
    cancelled = key and cancel(key, true)
    untracked = not in_hand and (not generation or generation == '0')
  end
  if cancelled or untracked then
    cleared = cleared + 1
  end
end
if #parked < batch and #entries < batch then
  return { cleared, false }
end
return { cleared, #entries > 0 and entries[#entries][1] or ARGV[6] }
