-- Turns a hold into a sale and, when the purchase used a coupon, the claim into a used one.
--
-- ARGV: operation (of the reservation), the claim's operation or ''.
-- Answers: {sold} (also a repeat) | {unknown} (this generation has not seen the operation: the caller decides)
--        | {not-held} (refused or released).

local operation, claim_operation = ARGV[1], ARGV[2]

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local state, fingerprint = outcome_of(operation)
local claim_state, claim_stored
if claim_operation ~= '' then
  claim_state, claim_stored = outcome_of(claim_operation)
  if claim_state and string.match(claim_stored, '^%S+') ~= 'claim' then
    return mismatch()
  end
end
if state and string.match(fingerprint, '^%S+') ~= 'reserve' then
  return mismatch()
end
if not state or (claim_operation ~= '' and not claim_state) then
  return { 'unknown' }
end
if state ~= 'held' and state ~= 'sold' then
  return { 'not-held' }
end
if claim_state and claim_state ~= 'held' and claim_state ~= 'used' then
  return { 'not-held' }
end

if state == 'held' then
  local lines = string.match(fingerprint, '^%S+ %S+ (%S+)$')
  for product, quantity in string.gmatch(lines, '([^:,]+):(%d+)') do
    redis.call('HINCRBY', STOCK, product .. ':sold', quantity)
    redis.call('HINCRBY', STOCK, product .. ':held', -quantity)
  end
  store_outcome(operation, 'sold', fingerprint)
end
if claim_state == 'held' then
  store_outcome(claim_operation, 'used', claim_stored)
end
return { 'sold' }
