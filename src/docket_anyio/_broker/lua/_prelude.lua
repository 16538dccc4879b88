-- Shared by every transition: this text is put before each script when it is loaded.

-- While the slot of a docket on a cluster moves, its keys are in two places, and a script would take what is in the other
-- one for missing. Who has the slot yet refuses a key that is not there, and only then.
if string.sub(KEYS[1], 1, 1) == '{' then
  local moving = redis.pcall('EXISTS', KEYS[1] .. ':anyio:absent')
  if type(moving) == 'table' then
    return redis.error_reply('TRYAGAIN the slot of ' .. KEYS[1] .. ' moves')
  end
end

local TERMINAL = { completed = true, failed = true, cancelled = true }
local SHORT = { ['"'] = '\\"', ['\\'] = '\\\\' }

local function quote(text)
  local escaped = string.gsub(text, '[%c"\\]', function(character)
    return SHORT[character] or string.format('\\u%04x', string.byte(character))
  end)
  return '"' .. escaped .. '"'
end

local function state_event(key, state, name, value)
  return '{"type":"state","key":' .. quote(key) .. ',"state":"' .. state .. '","' .. name .. '":' .. quote(value) .. '}'
end

local function field(message, name)
  for index = 1, #message, 2 do
    if message[index] == name then
      return message[index + 1]
    end
  end
end

-- What is to be taken before or after all others waits on a stream of our own beside pydocket's. Its ids begin as none
-- does that Redis makes up: so no two messages of a docket have the same id, and each id tells its stream. pydocket
-- looks on its own for what a record names, and finds nothing there.
local OWN_IDS = { high = '0-', low = '1-' }

local function own_stream(prefix, priority)
  return prefix .. ':anyio:stream:' .. priority
end

local function stream_with(prefix, id)
  for priority, start in pairs(OWN_IDS) do
    if string.sub(id, 1, #start) == start then
      return own_stream(prefix, priority)
    end
  end
  return prefix .. ':stream'
end

-- Puts a message where it waits for a worker.
local function enqueue(prefix, runs, message)
  local priority = field(message, 'anyio:priority')
  local start = OWN_IDS[priority or '']
  local id
  if start then
    id = start .. redis.call('INCR', prefix .. ':anyio:sequence')
    redis.call('XADD', own_stream(prefix, priority), id, unpack(message))
  else
    id = redis.call('XADD', prefix .. ':stream', '*', unpack(message))
  end
  redis.call('HSET', runs, 'state', 'queued', 'stream_id', id)
end

-- An empty payload means: do not publish.
local function publish(channel, payload)
  if payload ~= '' then
    redis.call('PUBLISH', channel, payload)
  end
end

-- Who has a delivery in hand, or false. Once pydocket's clear has deleted its message it is soon no longer pending, and
-- only the record says who runs it.
local function holder_of(runs, stream, group, receipt, worker)
  if receipt == '' then
    return worker -- what is claimed by hand is in nobody else's
  end
  local pending = redis.pcall('XPENDING', stream, group, receipt, receipt, 1)
  if not pending.err and pending[1] then
    return pending[1][2]
  end
  local record = redis.call('HMGET', runs, 'anyio:receipt', 'worker')
  return record[1] == receipt and record[2]
end

-- Takes a delivery out of whosever hands it is in, and tells whether it was in any. There is none without a receipt.
local function acknowledge(runs, stream, group, receipt)
  if receipt == '' then
    return true
  end
  local pending = redis.call('XACK', stream, group, receipt)
  redis.call('XDEL', stream, receipt)
  if redis.call('HGET', runs, 'anyio:receipt') == receipt then
    redis.call('HDEL', runs, 'anyio:receipt')
    return true
  end
  return pending == 1
end

-- Generation 0 is a message from before they were counted, and so is what is no number; a record that is gone was ended
-- by somebody else. Once it is gone the count starts anew, and a newer message may be of the same generation, or of a
-- lower one: then the one that waits tells. A `stream_id` whose message is gone tells nothing, it may be one that
-- pydocket left behind.
local function superseded(runs, generation, prefix, receipt)
  if tonumber(generation) == 0 then
    return false
  end
  local record = redis.call('HMGET', runs, 'generation', 'state', 'stream_id')
  local current, state, waiting = record[1], record[2], record[3]
  if not current or (tonumber(current) or tonumber(generation)) ~= tonumber(generation) then
    return true
  end
  if receipt and state == 'queued' and waiting and waiting ~= receipt then
    return #redis.call('XRANGE', stream_with(prefix, waiting), waiting, waiting) > 0
  end
  return receipt and state == 'scheduled'
end

-- Another worker, which had the delivery before or after, has ended the run.
local function ended(state, generation)
  return tonumber(generation) > 0 and (state == 'completed' or state == 'failed')
end

-- A newer run of the key may have tagged the progress as its own.
local function drop_progress(progress, generation)
  local tagged = redis.call('HGET', progress, 'generation')
  if not tagged or (tonumber(tagged) or 0) <= tonumber(generation) then
    redis.call('DEL', progress)
  end
end

local function expire(runs, seconds)
  if tonumber(seconds) > 0 then
    redis.call('EXPIRE', runs, seconds)
  else
    redis.call('DEL', runs)
  end
end

-- A run that goes on is asked to stop by a field of our own, for the generation that runs: so its state does not say what
-- is not true yet. pydocket's clients ask by the state, and so do ours where pydocket's workers would run it again.
local function is_cancelled(runs)
  local record = redis.call('HMGET', runs, 'state', 'generation', 'anyio:cancel_requested')
  local state, generation, requested = record[1], record[2], record[3]
  return state == 'cancelled' or (state and not TERMINAL[state] and requested == (generation or '0'))
end

-- What was cancelled ends here, with its last delivery. `now` is the end of what was only asked to stop until now.
local function conclude_cancelled(runs, channel, key, seconds, now)
  local record = redis.call('HMGET', runs, 'state', 'completed_at', 'anyio:cancel_reason', 'anyio:cancel_requested',
    'generation')
  local completed_at = record[1] == 'cancelled' and record[2] or now
  redis.call('HSET', runs, 'state', 'cancelled', 'completed_at', completed_at)
  redis.call('HDEL', runs, 'known', 'stream_id', 'anyio:cancel_early')
  local event = state_event(key, 'cancelled', 'completed_at', completed_at)
  if record[3] and record[4] == (record[5] or '0') then
    event = string.sub(event, 1, -2) .. ',"reason":' .. quote(record[3]) .. '}'
  end
  redis.call('PUBLISH', channel, event)
  expire(runs, seconds)
end

-- Why a run that has left a worker's hands does not go on, or nothing where it does. What was cancelled ends here.
local function stays_ended(run, generation, receipt, seconds, now)
  drop_progress(run.progress, generation)
  if superseded(run.runs, generation, run.prefix, receipt) then
    return 'superseded'
  elseif ended(redis.call('HGET', run.runs, 'state'), generation) then
    return 'gone'
  elseif is_cancelled(run.runs) then
    conclude_cancelled(run.runs, run.channel, run.key, seconds, now)
    return 'cancelled'
  end
end

-- Every argument from `first` on: a message as fields and values in turn.
local function message_from(first)
  local message = {}
  for index = first, #ARGV do
    message[#message + 1] = ARGV[index]
  end
  return message
end

-- A worker that has been heard of since and does not say that it honours an extra: it is one of pydocket's. Where nobody
-- works, everything is honoured: ours will come.
local function who_ignores(workers, honouring, since)
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. since, '+inf')) do
    local said = redis.call('ZSCORE', honouring, worker)
    if not said or tonumber(said) <= tonumber(since) then
      return worker
    end
  end
end

-- Until when the execution of a key is to begin. pydocket does not know the two fields: where it has scheduled the key
-- anew they are of an older generation, and of no effect.
local function expiry_of(runs)
  local record = redis.call('HMGET', runs, 'anyio:expires', 'anyio:expires_generation', 'generation')
  return record[1] and record[2] == record[3] and record[1]
end

local function set_expiry(runs, expires, generation)
  if expires then
    redis.call('HSET', runs, 'anyio:expires', expires, 'anyio:expires_generation', generation)
  end
end

-- For who asks how urgent a key is; the message says it to those who place it.
local function note_priority(runs, message, generation)
  local priority = field(message, 'anyio:priority')
  if priority then
    redis.call('HSET', runs, 'anyio:priority', priority, 'anyio:priority_generation', generation)
  end
end

-- The same execution goes on under another generation.
local function count_generation(runs, message)
  local expires = expiry_of(runs)
  local generation = redis.call('HINCRBY', runs, 'generation', 1)
  set_expiry(runs, expires, generation)
  note_priority(runs, message, generation)
  return generation
end

-- The next run must not inherit the time to live of the last.
local function begin_anew(runs)
  local record = redis.call('HMGET', runs, 'state', 'generation')
  if record[1] and TERMINAL[record[1]] then
    redis.call('DEL', runs)
    if record[2] then
      redis.call('HSET', runs, 'generation', record[2])
    end
  elseif record[1] == 'running' then
    redis.call('PERSIST', runs) -- one that was cancelled has a time to live, if nobody else may be there to end it
  end
end

-- Puts a message where it waits: on the stream, or parked until it is due. The message's own fields come in the order
-- of WIRE section 3, so function, args and kwargs are its 6th, 8th and 10th element. Without `expires` it never does.
local function place(keys, key, when, immediate, message, expires)
  local generation = redis.call('HINCRBY', keys.runs, 'generation', 1)
  message[#message + 1] = 'generation'
  message[#message + 1] = tostring(generation)
  redis.call('HDEL', keys.runs, 'worker', 'started_at', 'completed_at', 'error', 'result_key', 'stream_id',
    'anyio:receipt', 'anyio:expires', 'anyio:expires_generation', 'anyio:priority', 'anyio:priority_generation',
    'waiter_stream', 'waiter_entry_id', 'woken_from', 'woken_limit', 'woken')
  set_expiry(keys.runs, expires, generation)
  note_priority(keys.runs, message, generation)
  redis.call('HSET', keys.runs, 'when', when, 'known', when,
    'function', message[6], 'args', message[8], 'kwargs', message[10])
  if immediate then
    enqueue(keys.prefix, keys.runs, message)
  else
    redis.call('HSET', keys.parked, unpack(message))
    redis.call('ZADD', keys.queue, when, key)
    redis.call('HSET', keys.runs, 'state', 'scheduled')
    if redis.call('ZRANGE', keys.queue, 0, 0)[1] == key then
      redis.call('PUBLISH', keys.wake, when)
    end
  end
  return generation
end

-- Those who wait for a slot of a ConcurrencyLimit (WIRE section 8.1). Beside pydocket's keys is a hash of our own: who
-- was woken and has not come yet, with the generation. Their room is kept for them, or those that come new would be first.

local WOKEN_SECONDS = 3600

local function limit_of(slots, prefix)
  return { slots = slots, waiters = slots .. ':waiters', woken = slots .. ':waiters:woken', prefix = prefix }
end

local function set_field(message, name, value)
  for index = 1, #message, 2 do
    if message[index] == name then
      message[index + 1] = value
      return
    end
  end
  message[#message + 1] = name
  message[#message + 1] = value
end

local function safeguard_of(key)
  return '__safeguard__:' .. key
end

-- A key may hold any character, and `.` matches each.
local function guarded_by(safeguard)
  return string.match(safeguard, '^__safeguard__:(.*)$')
end

local function drop_safeguard(prefix, key)
  local safeguard = safeguard_of(key)
  redis.call('ZREM', prefix .. ':queue', safeguard)
  redis.call('DEL', prefix .. ':' .. safeguard, prefix .. ':runs:' .. safeguard, prefix .. ':progress:' .. safeguard)
end

-- Where a key waits for a slot, and as which entry. A replace by pydocket leaves both in the record, and `known` with them.
local function waiting_place(runs)
  local record = redis.call('HMGET', runs, 'state', 'known', 'waiter_stream', 'waiter_entry_id')
  if record[1] == 'scheduled' and not record[2] and record[3] and record[4] then
    return record[3], record[4]
  end
end

local function drop_if_empty(waiters)
  if redis.call('XLEN', waiters) == 0 then
    redis.call('DEL', waiters)
  end
end

-- A key does not wait for a slot any more; its state is the caller's.
local function leave_line(prefix, runs, key)
  local record = redis.call('HMGET', runs, 'waiter_stream', 'waiter_entry_id')
  if record[1] and record[2] then
    redis.call('XDEL', record[1], record[2])
    drop_if_empty(record[1])
    redis.call('HDEL', runs, 'waiter_stream', 'waiter_entry_id')
    drop_safeguard(prefix, key)
  end
end

local function count_expected(limit)
  local count = 0
  local woken = redis.call('HGETALL', limit.woken)
  for index = 1, #woken, 2 do
    local record = redis.call('HMGET', limit.prefix .. ':runs:' .. woken[index], 'state', 'generation')
    local coming = record[2] == woken[index + 1] and (record[1] == 'queued' or record[1] == 'running')
    if coming and not redis.call('ZSCORE', limit.slots, woken[index]) then
      count = count + 1
    else
      redis.call('HDEL', limit.woken, woken[index])
    end
  end
  return count
end

local function free_slots(limit, max)
  return max - redis.call('ZCARD', limit.slots) - count_expected(limit)
end

local function forward(limit, max, key, message)
  local runs = limit.prefix .. ':runs:' .. key
  local generation = count_generation(runs, message)
  set_field(message, 'generation', tostring(generation))
  enqueue(limit.prefix, runs, message)
  redis.call('HSET', runs, 'woken_from', limit.slots, 'woken_limit', max)
  redis.call('HDEL', runs, 'waiter_stream', 'waiter_entry_id')
  redis.call('HSET', limit.woken, key, generation)
  redis.call('EXPIRE', limit.woken, WOKEN_SECONDS)
  redis.call('PUBLISH', limit.prefix .. ':state:' .. key,
    '{"type":"state","key":' .. quote(key) .. ',"state":"queued"}')
end

-- As many waiters as there is room for go back to the stream, the oldest first. Who was cancelled or replaced only goes.
-- `spared` is the safeguard that calls: its own run is not to be taken from it.
local function wake(limit, max, spared)
  local room, woken = free_slots(limit, max), 0
  while woken < room do
    local entry = redis.call('XRANGE', limit.waiters, '-', '+', 'COUNT', 1)[1]
    if not entry then
      break
    end
    local id, message = entry[1], entry[2]
    local key = field(message, 'key')
    local waiters, expected = waiting_place(limit.prefix .. ':runs:' .. key)
    redis.call('XDEL', limit.waiters, id)
    if waiters == limit.waiters and expected == id then
      forward(limit, max, key, message)
      woken = woken + 1
    end
    -- One that waits elsewhere by now has a safeguard there.
    if (not waiters or expected == id) and safeguard_of(key) ~= spared then
      drop_safeguard(limit.prefix, key)
    end
  end
  drop_if_empty(limit.waiters)
  return woken
end

-- A key that was woken will not come for its slot: it goes to the next. To be asked before the record changes ...
local function woken_place(runs)
  local record = redis.call('HMGET', runs, 'state', 'woken_from', 'woken_limit')
  if record[1] == 'queued' and record[2] and record[3] then
    return { slots = record[2], max = tonumber(record[3]) }
  end
end

-- ... and used afterwards.
local function pass_on(place_of_woken, prefix)
  if place_of_woken then
    wake(limit_of(place_of_woken.slots, prefix), place_of_woken.max)
  end
end
