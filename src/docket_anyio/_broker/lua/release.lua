-- release: whoever holds a lock gives it back.
-- KEYS lock
-- ARGV token
-- returns 1 where it was held, else 0

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
