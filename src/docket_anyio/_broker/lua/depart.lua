-- depart: a worker leaves.
-- KEYS workers worker_tasks honouring_or_task_workers...
-- ARGV worker
-- returns 1

for index = 1, #KEYS do
  if index ~= 2 then
    redis.call('ZREM', KEYS[index], ARGV[1])
  end
end
redis.call('DEL', KEYS[2])
return 1
