-- Gives a hold back to the stock.
--
-- ARGV: operation.
-- Answers: {released} (also a repeat) | {nothing-held} (refused, or never seen: then a tombstone is written, so that a
-- late reserve of this operation is refused). What was sold is not released: SOLD.

local operation = ARGV[1]

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local state, fingerprint = outcome_of(operation)
if not state then
  store_outcome(operation, 'released', 'reserve')
  return { 'nothing-held' }
end
local kind, buyer, lines = string.match(fingerprint, '^(%S+) ?(%S*) ?(%S*)$')
if kind ~= 'reserve' then
  return mismatch()
end
if state == 'sold' then
  return failure('SOLD', 'the operation was confirmed: what is sold is not released')
end
if state == 'released' and buyer ~= '' then
  return { 'released' }
end
if state ~= 'held' then
  return { 'nothing-held' }
end

local units = 0
for product, quantity in string.gmatch(lines, '([^:,]+):(%d+)') do
  redis.call('HINCRBY', STOCK, product .. ':available', quantity)
  redis.call('HINCRBY', STOCK, product .. ':held', -quantity)
  units = units + quantity
end
if redis.call('HINCRBY', BUYERS, buyer, -units) == 0 then
  redis.call('HDEL', BUYERS, buyer)
end
store_outcome(operation, 'released', fingerprint)
return { 'released' }
