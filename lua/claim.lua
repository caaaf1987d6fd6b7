-- Gets a buyer a coupon of a campaign: one a buyer, no more than the campaign's size. `ahead` claims one that the buyer
-- keeps until a purchase takes it; `purchase` takes that one over, or claims one where the campaign allows it.
--
-- ARGV: operation, remember, epoch, ahead|purchase, buyer, campaign.
-- Answers: {held, from} | {used, from} (a repeat after the purchase); `from` is the operation that had claimed ahead what
--          this one took over, or ''
--        | {refused, reason, earlier, detail}: coupons-exhausted, coupon-already-used (the buyer has this campaign's
--          coupon by another operation), no-coupon, claims-not-open <claims_from_ms or ''>, not-valid-yet <valid_from_ms>,
--          expired <valid_until_ms>, sale-cancelled, sale-not-open <opens_at_ms>, sale-closed <closes_at_ms>,
--          unknown-campaign, released.
--
-- `remember` and `earlier` as in reserve.lua.

local operation, remember, epoch, purpose, buyer, campaign = unpack(ARGV)

local meta = redis.call('HMGET', META, 'generation', 'cancelled', 'opens_at_ms', 'closes_at_ms')
if not meta[1] then
  return unavailable()
end
if not is_epoch(epoch) or (purpose ~= 'ahead' and purpose ~= 'purchase') then
  return failure('INVALID', 'a claim has an epoch and a purpose')
end

local claim = campaign .. ':' .. buyer

local function has_something()
  return redis.call('HGET', CLAIMS, claim) or redis.call('HGET', BUYERS, buyer)
end

local outcome = outcome_of(operation)
if outcome then
  if not is_repeat(outcome, 'claim', buyer, campaign, purpose) then
    return mismatch()
  end
  local reason, detail = stored_refusal(outcome.state)
  if reason then
    return refused(operation, has_something(), reason, detail)
  end
  raise_epoch(operation, outcome, epoch)
  return { outcome.state == 'used' and 'used' or 'held', outcome.from }
end

local now = now_ms()
local counts = redis.call('HMGET', CAMPAIGNS, campaign .. ':size', campaign .. ':issued', campaign .. ':in_purchase',
  campaign .. ':valid_from_ms', campaign .. ':valid_until_ms', campaign .. ':claims_from_ms')
local size, issued, in_purchase, valid_from, valid_until, claims_from = unpack(counts)

-- Why no coupon of the campaign can be claimed ahead now: as long as one can be used, from an instant of its own on.
local function not_ahead()
  if meta[2] == '1' then
    return 'sale-cancelled', ''
  end
  if now >= tonumber(meta[4]) then
    return 'sale-closed', meta[4]
  end
  if not size then
    return 'unknown-campaign', campaign
  end
  if valid_until and now >= tonumber(valid_until) then
    return 'expired', valid_until
  end
  if not claims_from or now < tonumber(claims_from) then
    return 'claims-not-open', claims_from or ''
  end
end

-- Why no coupon of the campaign can be used now.
local function not_usable()
  local reason, detail = not_open(meta[2], meta[3], meta[4], now)
  if reason then
    return reason, detail
  end
  if not size then
    return 'unknown-campaign', campaign
  end
  if valid_from and now < tonumber(valid_from) then
    return 'not-valid-yet', valid_from
  end
  if valid_until and now >= tonumber(valid_until) then
    return 'expired', valid_until
  end
end

local holder = redis.call('HGET', CLAIMS, claim)
local ahead = purpose == 'purchase' and holder and outcome_of(holder)
if ahead and ahead.state ~= 'issued' then
  ahead = nil
end

-- Why the buyer gets none, when the campaign is one that gives.
local function none_left()
  if holder then
    return not ahead and 'coupon-already-used', campaign
  end
  if purpose == 'purchase' and in_purchase ~= '1' then
    return 'no-coupon', campaign
  end
  if tonumber(issued) >= tonumber(size) then
    return 'coupons-exhausted', campaign
  end
end

local made = { epoch = epoch, kind = 'claim', buyer = buyer, what = campaign, purpose = purpose }

local reason, detail
if purpose == 'ahead' then
  reason, detail = not_ahead()
else
  reason, detail = not_usable()
end
if not reason then
  reason, detail = none_left()
end
if reason then
  return refuse(operation, made, remember, has_something(), reason, detail)
end

if ahead then
  made.from = holder
  store(holder, ahead, 'taken')
else
  redis.call('HINCRBY', CAMPAIGNS, campaign .. ':issued', 1)
end
redis.call('HSET', CLAIMS, claim, operation)
store_taken(operation, made, purpose == 'ahead' and 'issued' or 'held')
return { 'held', made.from or '' }
