-- heartbeat: a worker says that it lives and what it can run; those not heard of are forgotten.
-- KEYS workers worker_tasks honouring_or_task_workers...
-- ARGV worker now oldest window_seconds task...
-- returns 1

for index = 1, #KEYS do
  if index ~= 2 then
    redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', ARGV[3])
    redis.call('ZADD', KEYS[index], ARGV[2], ARGV[1])
  end
end
if #ARGV > 4 then
  redis.call('SADD', KEYS[2], unpack(ARGV, 5))
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return 1
