-- count_run: a run is counted in the sliding window of a RateLimit, if it may still begin.
-- KEYS window
-- ARGV member now_ms per_ms limit again
--   again is 1 where the answer to an earlier try was lost
-- returns 0 where it may begin, else in how many milliseconds to ask again

local window, member, now, per = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', window, '-inf', now - per)
if ARGV[5] == '1' and redis.call('ZSCORE', window, member) then
  return 0
end
if redis.call('ZCARD', window) < tonumber(ARGV[4]) then
  redis.call('ZADD', window, now, member)
  redis.call('PEXPIRE', window, 2 * per)
  return 0
end
return math.max(1, tonumber(redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')[2]) + per - now)
