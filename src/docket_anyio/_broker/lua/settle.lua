-- settle: a run has ended, and so has its execution.
-- KEYS runs progress state_channel stream result
-- ARGV generation receipt group state completed_at time_to_live event error result_key result quiet
-- returns "settled" | "superseded" | "gone"

local runs, generation, seconds = KEYS[1], ARGV[1], tonumber(ARGV[6])
local held = acknowledge(runs, KEYS[4], ARGV[3], ARGV[2])
if superseded(runs, generation, KEYS[4], held and ARGV[2]) then
  if held then
    drop_progress(KEYS[2], generation)
    if ARGV[11] ~= '1' then
      publish(KEYS[3], ARGV[7])
    end
  end
  return 'superseded'
end
-- A repeated call, and a worker whose run somebody else has ended or handed back, change nothing. What is in hand and
-- queued was claimed and is not to be started.
local state = redis.call('HGET', runs, 'state')
if not held or not (state == 'running' or state == 'cancelled' or state == 'queued') then
  return 'gone'
end
redis.call('HDEL', runs, 'known', 'stream_id')
drop_progress(KEYS[2], generation)
redis.call('HSET', runs, 'state', ARGV[4], 'completed_at', ARGV[5])
if ARGV[8] ~= '' then
  redis.call('HSET', runs, 'error', ARGV[8])
end
if ARGV[10] ~= '' and seconds > 0 then
  redis.call('SET', KEYS[5], ARGV[10], 'EX', seconds)
  redis.call('HSET', runs, 'result_key', ARGV[9])
end
expire(runs, seconds)
publish(KEYS[3], ARGV[7])
return 'settled'
