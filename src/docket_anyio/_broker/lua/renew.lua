-- renew: a worker renews the leases that it still holds, and hears which of its runs were asked to stop.
-- KEYS stream runs...
-- ARGV prefix group worker receipts_and_generations...
-- returns {the receipts whose lease it has lost,
--   {receipt, reason or false, grace in seconds or false} for each that was asked to stop}

local prefix, group, worker = ARGV[1], ARGV[2], ARGV[3]
if redis.pcall('XPENDING', KEYS[1], group).err then
  -- No such group: everything was flushed, so nobody else can have the deliveries either.
  return { {}, {} }
end
local lost, asked = {}, {}
for index = 2, #KEYS do
  local runs, receipt, generation = KEYS[index], ARGV[2 * index], ARGV[2 * index + 1]
  local stream = stream_with(prefix, receipt)
  local holder = holder_of(runs, stream, group, receipt)
  if holder == worker then
    redis.call('XCLAIM', stream, group, worker, 0, receipt, 'IDLE', 0, 'JUSTID')
    local record = redis.call('HMGET', runs, 'anyio:cancel_requested', 'anyio:cancel_reason', 'anyio:cancel_grace')
    if record[1] and record[1] == generation then
      asked[#asked + 1] = { receipt, record[2], record[3] }
    elseif is_cancelled(runs) and not superseded(runs, generation) then
      asked[#asked + 1] = { receipt, false, false }
    end
  elseif holder or not superseded(runs, generation) then
    lost[#lost + 1] = receipt
  end
  -- A superseded run goes on to its end, also when its message was cleared and no record is about it.
end
return { lost, asked }
