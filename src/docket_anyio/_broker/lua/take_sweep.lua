-- take_sweep: one worker of the fleet at a time looks for abandoned deliveries.
-- KEYS sweep_lease
-- ARGV worker milliseconds
-- returns 1 where the worker holds the lease now, else 0

if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
return 0
