-- renew: a worker renews the leases that it still holds.
-- KEYS stream runs...
-- ARGV prefix group worker receipts_and_generations...
-- returns the receipts whose lease it has lost

local prefix, group, worker = ARGV[1], ARGV[2], ARGV[3]
if redis.pcall('XPENDING', KEYS[1], group).err then
  -- No such group: everything was flushed, so nobody else can have the deliveries either.
  return {}
end
local lost = {}
for index = 2, #KEYS do
  local runs, receipt, generation = KEYS[index], ARGV[2 * index], ARGV[2 * index + 1]
  local stream = stream_with(prefix, receipt)
  local holder = holder_of(runs, stream, group, receipt)
  if holder == worker then
    redis.call('XCLAIM', stream, group, worker, 0, receipt, 'IDLE', 0, 'JUSTID')
  elseif holder or not superseded(runs, generation) then
    lost[#lost + 1] = receipt
  end
  -- A superseded run goes on to its end, also when its message was cleared and no record is about it.
end
return lost
