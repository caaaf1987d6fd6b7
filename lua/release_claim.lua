-- Gives a coupon back exactly as it was taken: to the buyer's claim ahead when it was taken over from there, and to the
-- campaign otherwise.
--
-- ARGV: operation, may_forget: 1 when no copy of the operation is on its way any more, so that its key may be used again,
-- and the only epoch under which it is released, '' for any.
-- Answers as release.lua: {released} | {nothing-held} | {moved-on}; and {used} for a claim ahead whose coupon a purchase
-- has used: it stays that one's. What a purchase used itself, or has taken and may give back yet, is not given back: USED.
-- A claim ahead that is forgotten leaves its coupon to the purchase that has taken it, which then gives it back to the
-- campaign.

local operation, may_forget, only_under = unpack(ARGV)

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local outcome = outcome_of(operation)
if has_moved_on(outcome, only_under) then
  return { 'moved-on' }
end
if not outcome then
  store_tombstone(operation, 'claim')
  return { 'nothing-held' }
end
if outcome.kind ~= 'claim' and outcome.kind ~= 'any' then
  return mismatch()
end
if outcome.state == 'used' and outcome.purpose == 'ahead' then
  return { 'used' }
end
if outcome.state == 'used' then
  return failure('USED', 'the coupon was used: it is not given back')
end
if outcome.state == 'taken' and may_forget ~= '1' then
  return failure('USED', 'a purchase has taken the coupon: it is given back when that is')
end
if outcome.state == 'released' and outcome.buyer ~= '' then
  return { 'released' }
end
if outcome.state ~= 'held' and outcome.state ~= 'issued' and outcome.state ~= 'taken' then
  return { 'nothing-held' }
end

if outcome.state ~= 'taken' then
  local claim = outcome.what .. ':' .. outcome.buyer
  local ahead = taken_over_by(outcome)
  if ahead then
    store(outcome.from, ahead, 'issued')
    redis.call('HSET', CLAIMS, claim, outcome.from)
  else
    redis.call('HINCRBY', CAMPAIGNS, outcome.what .. ':issued', -1)
    redis.call('HDEL', CLAIMS, claim)
  end
end
if may_forget == '1' then
  forget(operation)
else
  store_end(operation, outcome, 'released')
end
return { 'released' }
