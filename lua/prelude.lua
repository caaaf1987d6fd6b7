-- What the scripts of a sale share: this text is put in front of each of them, so that keys, stored outcomes
-- and error replies are written down once.
--
-- Every script gets the seven keys of one sale, which share the tag {sale} and so a slot of a cluster:
--   meta        generation, revision, cancelled, opens_at_ms, closes_at_ms, per_buyer_limit;
--               while a rebuild runs: rebuilding, chunks
--   stock       <product>:available, <product>:held, <product>:sold
--   buyers      <buyer> -> units held and sold
--   operations  <operation> -> the stored outcome, see below
--   campaigns   <campaign>:size, :issued, :in_purchase, and where there is such an instant :valid_from_ms,
--               :valid_until_ms, :claims_from_ms
--   claims      <campaign>:<buyer> -> the operation that has the coupon
--   starts      <start> -> "<known> <operation> ...": known is 1 when an operation of it was given back or refused for good, or when it
--               was there as a rebuild looked: it is durable, or was about to be; 0 otherwise. Then its operations that have
--               something. A repeat of the start that comes to another node has operations of other names
--
-- Rules that every script keeps:
--   * the generation first, then the stored outcome of the operation, then everything else;
--   * everything is validated before the first write, and nothing fails after it. A server that refuses writes
--     (out of memory, read-only) does so at the first of them, so the first write is always one that may grow;
--   * time is the server's, and is looked at before anything is held, never later; strings are never ordered (Lua
--     compares them by locale); holds have no TTL.
--
-- Answers are arrays of strings. What is no answer is an error reply, named by its first word: UNAVAILABLE (no
-- generation: nothing is known, least of all "sold out"), MISMATCH, SOLD, USED, INVALID, SUPERSEDED.

local META, STOCK, BUYERS, OPERATIONS, CAMPAIGNS, CLAIMS, STARTS = unpack(KEYS)

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

-- An instant from an argument, in Unix milliseconds, or nil.
local function instant(text)
  if text and #text <= 15 and string.find(text, '^%-?%d+$') then
    return tonumber(text)
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Why nothing can be had now: a reason and its detail, or nothing when the sale is open.
local function not_open(cancelled, opens_at_ms, closes_at_ms, now)
  if cancelled == '1' then
    return 'sale-cancelled', ''
  end
  if now < tonumber(opens_at_ms) then
    return 'sale-not-open', opens_at_ms
  end
  if now >= tonumber(closes_at_ms) then
    return 'sale-closed', closes_at_ms
  end
end

-- A stored outcome is "<state> <epoch> <kind> <buyer> <what> <purpose> <from>", as far as it goes:
--   state    of a hold held, paying, sold; of a claim ahead issued, taken (by a purchase), used; of a purchase's claim
--            held, used; of both released, refused:<reason>:<detail>
--   epoch    under which the operation was made; `-` when a rebuild loaded it, or it came after its own release
--   kind     reserve, claim, or `any` for a tombstone that a rebuild loaded
--   what     of a hold its lines, <product>:<quantity>,...; of a claim its campaign
--   purpose  of a claim: ahead, purchase
--   from     of a purchase's claim that took a coupon over: the operation that had claimed it ahead
-- The tombstone of what was never held knows just its kind, and so matches every repeat of that kind.
local function outcome_of(operation)
  local stored = redis.call('HGET', OPERATIONS, operation)
  if stored then
    local state, epoch, kind, buyer, what, purpose, from =
      string.match(stored, '^(%S+) (%S+) (%S+) ?(%S*) ?(%S*) ?(%S*) ?(.*)$')
    return { state = state, epoch = epoch, kind = kind, buyer = buyer, what = what, purpose = purpose, from = from }
  end
end

local function text_of(outcome)
  local words = { outcome.state, outcome.epoch, outcome.kind }
  for _, word in ipairs({ outcome.buyer or '', outcome.what or '', outcome.purpose or '', outcome.from or '' }) do
    if word ~= '' then
      words[#words + 1] = word
    end
  end
  return table.concat(words, ' ')
end

local function store(operation, outcome, state)
  outcome.state = state
  redis.call('HSET', OPERATIONS, operation, text_of(outcome))
end

-- What an operation has in common with that of a repeated start which is born elsewhere: an operation is
-- "<partition>-<start>/<step>" (see `WorkflowId`). What is named otherwise has no start.
local function start_of(operation)
  return string.match(operation, '^%x%x%x%x%x%x%x%x%-(%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x)/')
end

-- What is known of the start of an operation: whether it is, or was about to be, durable ('1' or '0'), and those of its
-- operations that have something, but this one.
local function known_of(start, operation)
  local known, others = '0', {}
  local stored = start and redis.call('HGET', STARTS, start) or ''
  for word in string.gmatch(stored, '%S+') do
    if #word == 1 then
      known = word
    elseif word ~= operation then
      others[#others + 1] = word
    end
  end
  return known, others
end

local function store_start(start, known, having)
  redis.call('HSET', STARTS, start, table.concat({ known, unpack(having) }, ' '))
end

-- Stores what an operation has, which it had not before.
local function store_taken(operation, outcome, state)
  store(operation, outcome, state)
  local start = start_of(operation)
  if start then
    local known, having = known_of(start, operation)
    having[#having + 1] = operation
    store_start(start, known, having)
  end
end

-- Stores how an operation ended that has nothing any more, and that its start is known.
local function store_end(operation, outcome, state)
  store(operation, outcome, state)
  local start = start_of(operation)
  if start then
    local _, others = known_of(start, operation)
    store_start(start, '1', others)
  end
end

-- Nothing of an operation is known any more, nor of its start by it.
local function forget(operation)
  redis.call('HDEL', OPERATIONS, operation)
  local start = start_of(operation)
  if start then
    local known, others = known_of(start, operation)
    if known == '0' and #others == 0 then
      redis.call('HDEL', STARTS, start)
    else
      store_start(start, known, others)
    end
  end
end

-- A release came first: whatever of this kind comes later is refused.
local function store_tombstone(operation, kind)
  store_end(operation, { epoch = '-', kind = kind }, 'released')
end

local function is_epoch(text)
  return text and #text <= 15 and string.find(text, '^%d+$')
end

-- Whether a call asks for what the stored outcome is of: all of it but the epoch must be the same.
local function is_repeat(outcome, kind, buyer, what, purpose)
  if outcome.kind == 'any' then
    return true
  end
  if outcome.kind ~= kind then
    return false
  end
  return outcome.buyer == ''
    or outcome.buyer == buyer and outcome.what == what and outcome.purpose == purpose
end

-- The claim ahead that this purchase's claim has taken over, while it is the one to give the coupon back to. It may be
-- forgotten by then, and its key used again for another buyer or campaign.
local function taken_over_by(outcome)
  local ahead = outcome.from ~= '' and outcome_of(outcome.from)
  if ahead and ahead.state == 'taken' and ahead.buyer == outcome.buyer and ahead.what == outcome.what then
    return ahead
  end
end

-- A repeat under a higher epoch: another node answers for the operation now.
local function raise_epoch(operation, outcome, epoch)
  if outcome.epoch ~= '-' and tonumber(outcome.epoch) < tonumber(epoch) then
    outcome.epoch = epoch
    store(operation, outcome, outcome.state)
  end
end

-- Whether an operation is not there any more, or not under the epoch that somebody saw it under: another node has it.
local function has_moved_on(outcome, only_under)
  return only_under ~= '' and (not outcome or outcome.epoch ~= only_under)
end

-- What a repeat is told when its operation holds nothing: a reason and its detail.
local function stored_refusal(state)
  if state == 'released' then
    return 'released', ''
  end
  return string.match(state, '^refused:([^:]*):(.*)$')
end

local function workflow_of(operation)
  return string.match(operation, '^[^/]*')
end

-- What has something that the database need not know of yet.
local UNDECIDED = { held = true, paying = true, issued = true, taken = true }

local function is_undecided(outcome)
  return UNDECIDED[outcome.state] and outcome.epoch ~= '-'
end

-- What is known of the start of an operation that is refused: 2 while another copy of it, born elsewhere, has something
-- and may be becoming durable; 1 when the start is known, or the buyer has something: the purchase may be one that is
-- there; 0 otherwise.
local function earlier(operation, buyer_has_something)
  local known, others = known_of(start_of(operation), operation)
  for _, other in ipairs(others) do
    local outcome = workflow_of(other) ~= workflow_of(operation) and outcome_of(other)
    if outcome and is_undecided(outcome) then
      return '2'
    end
  end
  return buyer_has_something and '1' or known
end

-- The answer to an operation that has nothing and gets nothing.
local function refused(operation, buyer_has_something, reason, detail)
  return { 'refused', reason, earlier(operation, buyer_has_something), detail }
end

-- The same, and it stays so when `remember` is 1: when an earlier copy of the operation may still be on its way, and must
-- not succeed after this one was refused. A first and only copy stores nothing, so a sold-out storm writes nothing. What
-- is refused beside another copy of its start is no final word.
local function refuse(operation, made, remember, buyer_has_something, reason, detail)
  if remember == '1' and earlier(operation, buyer_has_something) ~= '2' then
    store_end(operation, made, 'refused:' .. reason .. ':' .. detail)
  end
  return refused(operation, buyer_has_something, reason, detail)
end
