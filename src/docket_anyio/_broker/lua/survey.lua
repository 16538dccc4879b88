-- survey: what waits and what is in workers' hands, at one moment. Nothing is changed.
-- KEYS queue stream
-- ARGV prefix limit group
-- returns {entries on the stream, keys in the queue,
--   {id, message, consumer or false, milliseconds in its hands, {state, generation, started_at}} for each entry,
--   a message for each key that is due first, the keys after those}; no more than the limit of entries and messages

local queue, stream, prefix, limit, group = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3]

local grouped = not redis.pcall('XPENDING', stream, group).err
local entries = {}
for index, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', limit)) do
  local id, message = entry[1], entry[2]
  local holder = grouped and redis.call('XPENDING', stream, group, id, id, 1)[1] or { false, false, 0 }
  local key = field(message, 'key')
  local record = key and redis.call('HMGET', prefix .. ':runs:' .. key, 'state', 'generation', 'started_at') or {}
  entries[index] = { id, message, holder[2], holder[3], record }
end

-- A safeguard stands for the task that waits for a slot, which is in no index of its own.
local parked, further = {}, redis.call('ZRANGE', queue, 0, -1)
for index = 1, math.min(limit, #further) do
  local guarded = guarded_by(further[index])
  local waiters, id
  if guarded then
    waiters, id = waiting_place(prefix .. ':runs:' .. guarded)
  end
  local entry = waiters and redis.call('XRANGE', waiters, id, id)[1]
  parked[index] = entry and entry[2] or redis.call('HGETALL', prefix .. ':' .. further[index])
end
local rest = {}
for index = limit + 1, #further do
  rest[#rest + 1] = further[index]
end
return { redis.call('XLEN', stream), #further, entries, parked, rest }
