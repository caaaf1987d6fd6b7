-- Claims a coupon of a campaign for a buyer: one a buyer, no more than the campaign's size.
--
-- ARGV: operation, remember, buyer, campaign.
-- Answers: {held} | {used} (a repeat after the purchase)
--        | {refused, reason, buyer_holds, detail}: coupons-exhausted, coupon-already-used (the buyer has this campaign's
--          coupon by another operation), sale-not-open <opens_at_ms>, sale-closed <closes_at_ms>, unknown-campaign, released.
--
-- `remember` as in reserve.lua.

local operation, remember, buyer, campaign = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local meta = redis.call('HMGET', META, 'generation', 'opens_at_ms', 'closes_at_ms')
if not meta[1] then
  return unavailable()
end

local claim = campaign .. ':' .. buyer
local fingerprint = claim_fingerprint(buyer, campaign)

local function refused(reason, detail)
  local holds = redis.call('HGET', CLAIMS, claim) or redis.call('HGET', BUYERS, buyer)
  return { 'refused', reason, holds and '1' or '0', detail }
end

local state, stored_fingerprint = outcome_of(operation)
if state then
  if stored_fingerprint ~= fingerprint and stored_fingerprint ~= 'claim' then
    return mismatch()
  end
  if state == 'held' or state == 'used' then
    return { state }
  end
  return refused(stored_refusal(state))
end

local function refuse(reason, detail)
  if remember == '1' then
    store_outcome(operation, 'refused:' .. reason .. ':' .. detail, fingerprint)
  end
  return refused(reason, detail)
end

local reason, detail = not_open(meta[2], meta[3])
if reason then
  return refuse(reason, detail)
end

local campaign_counts = redis.call('HMGET', CAMPAIGNS, campaign .. ':size', campaign .. ':issued')
if not campaign_counts[1] then
  return refuse('unknown-campaign', campaign)
end
if redis.call('HGET', CLAIMS, claim) then
  return refuse('coupon-already-used', campaign)
end
if tonumber(campaign_counts[2]) >= tonumber(campaign_counts[1]) then
  return refuse('coupons-exhausted', campaign)
end

redis.call('HINCRBY', CAMPAIGNS, campaign .. ':issued', 1)
redis.call('HSET', CLAIMS, claim, operation)
store_outcome(operation, 'held', fingerprint)
return { 'held' }
