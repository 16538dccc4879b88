-- survey: what waits and what is in workers' hands, at one moment. Nothing is changed.
-- KEYS queue streams...
-- ARGV prefix limit group
-- returns {entries on the streams, keys in the queue,
--   {id, message, consumer or false, milliseconds in its hands, {state, generation, started_at}} for each entry,
--   a message for each key that is due first, the keys after those}; no more than the limit of entries and messages

local queue, prefix, limit, group = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]

local ready, entries = 0, {}
for index = 2, #KEYS do
  local stream = KEYS[index]
  ready = ready + redis.call('XLEN', stream)
  local grouped = not redis.pcall('XPENDING', stream, group).err
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', limit - #entries) or {}) do
    local id, message = entry[1], entry[2]
    local holder = grouped and redis.call('XPENDING', stream, group, id, id, 1)[1] or { false, false, 0 }
    local key = field(message, 'key')
    local record = key and redis.call('HMGET', prefix .. ':runs:' .. key, 'state', 'generation', 'started_at') or {}
    entries[#entries + 1] = { id, message, holder[2], holder[3], record }
  end
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
return { ready, #further, entries, parked, rest }
