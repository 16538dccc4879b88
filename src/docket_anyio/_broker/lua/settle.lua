-- settle: a run has ended, and so has its execution. Without a receipt somebody says so by hand, whatever its state.
-- KEYS runs progress state_channel stream result
-- ARGV prefix generation receipt group state completed_at time_to_live event error result_key result quiet
--      result is empty where there is none, or where it is under result_key already
-- returns "settled" | "superseded" | "gone"

local runs, generation, receipt, seconds = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[7])
local woken = woken_place(runs)
local held = acknowledge(runs, KEYS[4], ARGV[4], receipt)
if superseded(runs, generation, ARGV[1], receipt ~= '' and held and receipt) then
  if held then
    drop_progress(KEYS[2], generation)
    if ARGV[12] ~= '1' then
      publish(KEYS[3], ARGV[8])
    end
  end
  return 'superseded'
end
-- A repeated call, and a worker whose run somebody else has ended or handed back, change nothing. What is in hand and
-- queued was claimed and is not to be started.
local state = redis.call('HGET', runs, 'state')
if receipt ~= '' and (not held or not (state == 'running' or state == 'cancelled' or state == 'queued')) then
  return 'gone'
end
redis.call('HDEL', runs, 'known', 'stream_id', 'woken_from', 'woken_limit', 'woken', 'anyio:cancel_early')
drop_progress(KEYS[2], generation)
redis.call('HSET', runs, 'state', ARGV[5], 'completed_at', ARGV[6])
if ARGV[9] ~= '' then
  redis.call('HSET', runs, 'error', ARGV[9])
end
if ARGV[10] ~= '' and seconds > 0 then
  if ARGV[11] ~= '' then
    redis.call('SET', KEYS[5], ARGV[11], 'EX', seconds)
  end
  redis.call('HSET', runs, 'result_key', ARGV[10])
end
expire(runs, seconds)
publish(KEYS[3], ARGV[8])
pass_on(woken, ARGV[1])
return 'settled'
