-- debounce: the first of many runs waits until no other has come for a while.
-- KEYS winner last_seen
-- ARGV key now_ms settle_ms keep runs_prefix
--   keep is 1 where the run has more to ask and is to stay the winner
--   runs_prefix is empty where the winner may be a key of another docket, or its record is elsewhere in a cluster
-- returns 0 where the run may begin, -1 where it is dropped, else in how many milliseconds to ask again

local key, now, settle = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local forget = 10 * settle
local winner = redis.call('GET', KEYS[1])

-- One that was cancelled will not run in the place of the others.
local function has_ended()
  if ARGV[5] == '' then
    return false
  end
  local state = redis.call('HGET', ARGV[5] .. winner, 'state')
  return not state or TERMINAL[state]
end

if winner == key then
  local left = settle - (now - tonumber(redis.call('GET', KEYS[2]) or 0))
  if left <= 0 then
    if ARGV[4] == '0' then
      redis.call('DEL', KEYS[1], KEYS[2])
    end
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], forget)
  redis.call('PEXPIRE', KEYS[2], forget)
  return left
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', forget)
if winner and not has_ended() then
  redis.call('PEXPIRE', KEYS[1], forget)
  return -1
end
redis.call('SET', KEYS[1], key, 'PX', forget)
return settle
