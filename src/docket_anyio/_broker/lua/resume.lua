-- resume: runs begin again on a docket.
-- KEYS paused pause_channel
-- ARGV
-- returns 1

redis.call('DEL', KEYS[1])
redis.call('PUBLISH', KEYS[2], 'resumed')
return 1
