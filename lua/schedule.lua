-- Opens or closes a sale at other times, or cancels it. What is held goes on either way.
--
-- ARGV: revision, opens_at_ms, closes_at_ms, cancelled.
-- Answers: {scheduled} (also a repeat) | {superseded} (a later revision is there: nothing changes).

local revision, opens_at_ms, closes_at_ms, cancelled = unpack(ARGV)

local meta = redis.call('HMGET', META, 'generation', 'revision', 'opens_at_ms', 'closes_at_ms', 'cancelled')
if not meta[1] then
  return unavailable()
end
local number, opens, closes = whole(revision), instant(opens_at_ms), instant(closes_at_ms)
if not number or not opens or not closes or opens >= closes or (cancelled ~= '0' and cancelled ~= '1') then
  return failure('INVALID', 'a schedule has a revision, and opens before it closes')
end

local known = tonumber(meta[2])
if number < known then
  return { 'superseded' }
end
if number == known then
  if meta[3] ~= opens_at_ms or meta[4] ~= closes_at_ms or meta[5] ~= cancelled then
    return mismatch()
  end
  return { 'scheduled' }
end
redis.call('HSET', META, 'revision', revision, 'opens_at_ms', opens_at_ms, 'closes_at_ms', closes_at_ms,
  'cancelled', cancelled)
return { 'scheduled' }
