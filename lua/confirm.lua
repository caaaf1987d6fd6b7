-- Turns a hold into a sale and, when the purchase used a coupon, the claim into a used one, together with the claim
-- ahead that it was taken over from.
--
-- ARGV: operation (of the reservation), the claim's operation or ''.
-- Answers: {sold} (also a repeat) | {unknown} (this generation has not seen the operation: the caller decides)
--        | {not-held} (refused or released).

local operation, claim_operation = ARGV[1], ARGV[2]

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local hold, claim = outcome_of(operation), nil
if claim_operation ~= '' then
  claim = outcome_of(claim_operation)
  if claim and claim.kind ~= 'any' and (claim.kind ~= 'claim' or claim.purpose == 'ahead') then
    return mismatch()
  end
end
if hold and hold.kind ~= 'reserve' and hold.kind ~= 'any' then
  return mismatch()
end
if not hold or (claim_operation ~= '' and not claim) then
  return { 'unknown' }
end
if hold.state ~= 'held' and hold.state ~= 'paying' and hold.state ~= 'sold' then
  return { 'not-held' }
end
if claim and claim.state ~= 'held' and claim.state ~= 'used' then
  return { 'not-held' }
end

if hold.state ~= 'sold' then
  for product, quantity in string.gmatch(hold.what, '([^:,]+):(%d+)') do
    redis.call('HINCRBY', STOCK, product .. ':sold', quantity)
    redis.call('HINCRBY', STOCK, product .. ':held', -quantity)
  end
  store(operation, hold, 'sold')
end
if claim and claim.state == 'held' then
  store(claim_operation, claim, 'used')
  local ahead = taken_over_by(claim)
  if ahead then
    store(claim.from, ahead, 'used')
  end
end
return { 'sold' }
