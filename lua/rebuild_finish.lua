-- Opens the gate on what was loaded: the generation is set last.
--
-- ARGV: generation, the number of chunks, revision, cancelled, opens_at_ms, closes_at_ms, per_buyer_limit.
-- Answers: {finished} (also a repeat). SUPERSEDED as in rebuild_load.lua.

local generation, chunks, revision, cancelled, opens_at_ms, closes_at_ms, limit = unpack(ARGV)

local meta = redis.call('HMGET', META, 'generation', 'rebuilding', 'chunks')
if meta[1] == generation then
  return { 'finished' }
end
if meta[2] ~= generation or meta[3] ~= chunks then
  return failure('SUPERSEDED', 'the rebuild was overtaken by another, or a chunk was lost')
end
local opens, closes = instant(opens_at_ms), instant(closes_at_ms)
if not opens or not closes or opens >= closes or (whole(limit) or 0) < 1 then
  return failure('INVALID', 'a sale opens before it closes, and a buyer may have at least one unit')
end
if not whole(revision) or (cancelled ~= '0' and cancelled ~= '1') then
  return failure('INVALID', 'a schedule has a revision, and is cancelled or not')
end

redis.call('HSET', META, 'revision', revision, 'cancelled', cancelled, 'opens_at_ms', opens_at_ms,
  'closes_at_ms', closes_at_ms, 'per_buyer_limit', limit)
redis.call('HDEL', META, 'rebuilding', 'chunks')
redis.call('HSET', META, 'generation', generation)
return { 'finished' }
