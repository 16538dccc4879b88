-- pause: no run begins on a docket any more, if every worker honours that.
-- KEYS paused workers honouring_workers pause_channel
-- ARGV now heard_since
--   heard_since is the last heartbeat of those who count as gone
-- returns 1, or the name of a worker that does not honour it

local ignorant = who_ignores(KEYS[2], KEYS[3], ARGV[2])
if ignorant then
  return ignorant
end
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('PUBLISH', KEYS[4], 'paused')
return 1
