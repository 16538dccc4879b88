-- Shared by every transition: this text is put before each script when it is loaded.

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

-- An empty payload means: do not publish.
local function publish(channel, payload)
  if payload ~= '' then
    redis.call('PUBLISH', channel, payload)
  end
end

-- Who has a delivery in hand, or false. Once pydocket's clear has deleted its message it is soon no longer pending, and
-- only the record says who runs it.
local function holder_of(runs, stream, group, receipt)
  local pending = redis.pcall('XPENDING', stream, group, receipt, receipt, 1)
  if not pending.err and pending[1] then
    return pending[1][2]
  end
  local record = redis.call('HMGET', runs, 'anyio:receipt', 'worker')
  return record[1] == receipt and record[2]
end

-- Takes a delivery out of whosever hands it is in, and tells whether it was in any.
local function acknowledge(runs, stream, group, receipt)
  local pending = redis.call('XACK', stream, group, receipt)
  redis.call('XDEL', stream, receipt)
  if redis.call('HGET', runs, 'anyio:receipt') == receipt then
    redis.call('HDEL', runs, 'anyio:receipt')
    return true
  end
  return pending == 1
end

-- Generation 0 is a message from before they were counted; a record that is gone was ended by somebody else. Once it is
-- gone the count starts anew, and a newer message may be of the same generation, or of a lower one: then the one that
-- waits tells. A `stream_id` whose message is gone tells nothing, it may be one that pydocket left behind.
local function superseded(runs, generation, stream, receipt)
  if tonumber(generation) == 0 then
    return false
  end
  local record = redis.call('HMGET', runs, 'generation', 'state', 'stream_id')
  local current, state, waiting = record[1], record[2], record[3]
  if not current or tonumber(current) ~= tonumber(generation) then
    return true
  end
  if receipt and state == 'queued' and waiting and waiting ~= receipt then
    return #redis.call('XRANGE', stream, waiting, waiting) > 0
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
  if not tagged or tonumber(tagged) <= tonumber(generation) then
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

-- The record says cancelled: its last delivery ends here.
local function conclude_cancelled(runs, channel, key, seconds)
  local completed_at = redis.call('HGET', runs, 'completed_at')
  redis.call('PUBLISH', channel, state_event(key, 'cancelled', 'completed_at', completed_at or ''))
  expire(runs, seconds)
end

-- Every argument from `first` on: a message as fields and values in turn.
local function message_from(first)
  local message = {}
  for index = first, #ARGV do
    message[#message + 1] = ARGV[index]
  end
  return message
end

-- Puts a message where it waits: on the stream, or parked until it is due. The message's own fields come in the order
-- of WIRE section 3, so function, args and kwargs are its 6th, 8th and 10th element.
local function place(keys, key, when, immediate, message)
  local generation = redis.call('HINCRBY', keys.runs, 'generation', 1)
  message[#message + 1] = 'generation'
  message[#message + 1] = tostring(generation)
  redis.call('HDEL', keys.runs, 'worker', 'started_at', 'completed_at', 'error', 'result_key', 'stream_id',
    'anyio:receipt')
  redis.call('HSET', keys.runs, 'when', when, 'known', when,
    'function', message[6], 'args', message[8], 'kwargs', message[10])
  if immediate then
    local id = redis.call('XADD', keys.stream, '*', unpack(message))
    redis.call('HSET', keys.runs, 'state', 'queued', 'stream_id', id)
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
