-- renew: a worker renews the leases that it still holds.
-- KEYS stream
-- ARGV group worker receipt...
-- returns the receipts whose lease it has lost

local stream, group, worker = KEYS[1], ARGV[1], ARGV[2]
local lost = {}
for index = 3, #ARGV do
  local receipt = ARGV[index]
  local answer = redis.pcall('XPENDING', stream, group, receipt, receipt, 1)
  if answer.err then
    -- No such group: everything was flushed, so nobody else can have the delivery either.
    break
  end
  local pending = answer[1]
  if not pending or pending[2] ~= worker then
    lost[#lost + 1] = receipt
  else
    redis.call('XCLAIM', stream, group, worker, 0, receipt, 'IDLE', 0, 'JUSTID')
  end
end
return lost
