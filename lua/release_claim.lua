-- Gives a coupon back to its campaign, exactly as it was taken.
--
-- ARGV: operation, forget: 1 when no copy of the operation is on its way any more, so that its key may be used again.
-- Answers as release.lua: {released} | {nothing-held}. A used coupon is not given back: USED.

local operation, forget = ARGV[1], ARGV[2]

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local state, fingerprint = outcome_of(operation)
if not state then
  store_outcome(operation, 'released', 'claim')
  return { 'nothing-held' }
end
local kind, buyer, campaign = string.match(fingerprint, '^(%S+) ?(%S*) ?(%S*)$')
if kind ~= 'claim' then
  return mismatch()
end
if state == 'used' then
  return failure('USED', 'the coupon was used: it is not given back')
end
if state == 'released' and buyer ~= '' then
  return { 'released' }
end
if state ~= 'held' then
  return { 'nothing-held' }
end

redis.call('HINCRBY', CAMPAIGNS, campaign .. ':issued', -1)
redis.call('HDEL', CLAIMS, campaign .. ':' .. buyer)
if forget == '1' then
  redis.call('HDEL', OPERATIONS, operation)
else
  store_outcome(operation, 'released', fingerprint)
end
return { 'released' }
