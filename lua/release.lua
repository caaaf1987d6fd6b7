-- Gives a hold back to the stock.
--
-- ARGV: operation, may_forget: 1 when no copy of the operation is on its way any more, so that its key may be used again,
-- and the only epoch under which it is released, '' for any.
-- Answers: {released} (also a repeat) | {nothing-held} (refused, or never seen: then a tombstone is written, so that a
-- late reserve of this operation is refused) | {moved-on} (not there, or under another epoch: nothing is done). What was
-- sold is not released: SOLD.

local operation, may_forget, only_under = unpack(ARGV)

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local outcome = outcome_of(operation)
if has_moved_on(outcome, only_under) then
  return { 'moved-on' }
end
if not outcome then
  store_tombstone(operation, 'reserve')
  return { 'nothing-held' }
end
if outcome.kind ~= 'reserve' and outcome.kind ~= 'any' then
  return mismatch()
end
if outcome.state == 'sold' then
  return failure('SOLD', 'the operation was confirmed: what is sold is not released')
end
if outcome.state == 'released' and outcome.buyer ~= '' then
  return { 'released' }
end
if outcome.state ~= 'held' and outcome.state ~= 'paying' then
  return { 'nothing-held' }
end

local units = 0
for product, quantity in string.gmatch(outcome.what, '([^:,]+):(%d+)') do
  redis.call('HINCRBY', STOCK, product .. ':available', quantity)
  redis.call('HINCRBY', STOCK, product .. ':held', -quantity)
  units = units + quantity
end
if redis.call('HINCRBY', BUYERS, outcome.buyer, -units) == 0 then
  redis.call('HDEL', BUYERS, outcome.buyer)
end
if may_forget == '1' then
  forget(operation)
else
  store_end(operation, outcome, 'released')
end
return { 'released' }
