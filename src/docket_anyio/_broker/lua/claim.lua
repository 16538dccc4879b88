-- claim: a worker takes what waits, in the order of priority, and does not wait for more.
-- KEYS high stream low
-- ARGV group worker count turn
--   turn is how many this worker has claimed before
-- returns what XREADGROUP would, with a list for each delivery, also where that is an error

local HIGH, NORMAL, LOW = { 1, 2, 3 }, { 2, 1, 3 }, { 3, 1, 2 }
local group, worker, count, turn = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

-- Whoever always has somebody before it is first now and then.
local function order(number)
  if number % 16 == 0 then
    return LOW
  end
  return number % 4 == 0 and NORMAL or HIGH
end

local empty = {}

local function take(number)
  for _, index in ipairs(order(number)) do
    if not empty[index] then
      local read = redis.pcall('XREADGROUP', 'GROUP', group, worker, 'COUNT', 1, 'STREAMS', KEYS[index], '>')
      if read then
        return read
      end
      empty[index] = true
    end
  end
end

local claimed = {}
for number = turn + 1, turn + count do
  local read = take(number)
  if not read then
    break
  elseif read.err then
    return read
  end
  claimed[#claimed + 1] = read[1]
end
return claimed
