-- What the scripts of a sale share: this text is put in front of each of them, so that keys, stored outcomes
-- and error replies are written down once.
--
-- Every script gets the six keys of one sale, which share the tag {sale} and so a slot of a cluster:
--   meta        generation, opens_at_ms, closes_at_ms, per_buyer_limit; while a rebuild runs: rebuilding, chunks
--   stock       <product>:available, <product>:held, <product>:sold
--   buyers      <buyer> -> units held and sold
--   operations  <operation> -> "<state> <fingerprint>", the stored outcome
--   campaigns   <campaign>:size, <campaign>:issued
--   claims      <campaign>:<buyer> -> the operation that claimed
--
-- Rules that every script keeps:
--   * the generation first, then the stored outcome of the operation, then everything else;
--   * everything is validated before the first write, and nothing fails after it. A server that refuses writes
--     (out of memory, read-only) does so at the first of them, so the first write is always one that may grow;
--   * time is the server's; strings are never ordered (Lua compares them by locale); holds have no TTL.
--
-- Answers are arrays of strings. What is no answer is an error reply, named by its first word: UNAVAILABLE (no
-- generation: nothing is known, least of all "sold out"), MISMATCH, SOLD, USED, INVALID, SUPERSEDED.

local META, STOCK, BUYERS, OPERATIONS, CAMPAIGNS, CLAIMS = unpack(KEYS)

local function failure(code, text)
  return redis.error_reply(code .. ' ' .. text)
end

local function unavailable()
  return failure('UNAVAILABLE', 'the sale has no generation: it was never loaded, was lost, or is being rebuilt')
end

local function mismatch()
  return failure('MISMATCH', 'the operation was seen before with other parameters')
end

-- A count from an argument: a number from 0 to 9,999,999,999, or nil.
local function whole(text)
  if text and #text <= 10 and string.find(text, '^%d+$') then
    return tonumber(text)
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Why nothing can be had now: a reason and its detail, or nothing when the sale is open.
local function not_open(opens_at_ms, closes_at_ms)
  local now = now_ms()
  if now < tonumber(opens_at_ms) then
    return 'sale-not-open', opens_at_ms
  end
  if now >= tonumber(closes_at_ms) then
    return 'sale-closed', closes_at_ms
  end
end

-- A fingerprint is all that a repeat of the operation must have in common. The tombstone of what was never held
-- knows just the kind, and so matches every repeat of that kind.
local function reserve_fingerprint(buyer, lines)
  return 'reserve ' .. buyer .. ' ' .. table.concat(lines, ',')
end

local function claim_fingerprint(buyer, campaign)
  return 'claim ' .. buyer .. ' ' .. campaign
end

-- The state (held, sold, used, released, refused:<reason>:<detail>) and the fingerprint, or nothing.
local function outcome_of(operation)
  local stored = redis.call('HGET', OPERATIONS, operation)
  if stored then
    return string.match(stored, '^(%S+) (.+)$')
  end
end

local function store_outcome(operation, state, fingerprint)
  redis.call('HSET', OPERATIONS, operation, state .. ' ' .. fingerprint)
end

-- What a repeat is told when its operation holds nothing: a reason and its detail.
local function stored_refusal(state)
  if state == 'released' then
    return 'released', ''
  end
  return string.match(state, '^refused:([^:]*):(.*)$')
end
