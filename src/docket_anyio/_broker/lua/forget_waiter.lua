-- forget_waiter: a key that pydocket has cancelled while it waited for a slot leaves the line.
-- KEYS runs
-- ARGV prefix key
-- returns 1

if redis.call('HGET', KEYS[1], 'state') == 'cancelled' then
  leave_line(ARGV[1], KEYS[1], ARGV[2])
end
return 1
