-- Loads one chunk of a sale's snapshot behind the closed gate: the whole chunk, or nothing of it.
--
-- ARGV: generation, the chunk's number from 0, then records:
--   product  <product> <total> <sold>
--   campaign <campaign> <size> <in_purchase> then, each an instant or '', <valid_from_ms> <valid_until_ms> <claims_from_ms>
--   units    <buyer> <units sold>
--   hold     <operation> <buyer> <lines> then <product> <quantity> of each line
--   claim    <operation> <buyer> <campaign> issued|held|used <the claim ahead that it was taken over from, or ''>
--   ended    <operation>: a repeat of it is refused as released, whatever it asks for; one that has something keeps that
--   open     <operation>: its start is known, whatever it has
-- Products and campaigns come before what refers to them, what has something before what ended.
-- Answers: {loaded} (also for a repeat of the last chunk). SUPERSEDED: another rebuild has begun, a chunk was lost, or this
-- one comes late. INVALID: the snapshot contradicts itself.

local generation, chunk = ARGV[1], whole(ARGV[2])

local rebuild = redis.call('HMGET', META, 'rebuilding', 'chunks')
local loaded = tonumber(rebuild[2] or 0)
if rebuild[1] ~= generation or not chunk or (chunk ~= loaded and chunk ~= loaded - 1) then
  return failure('SUPERSEDED', 'this chunk is not the next one of the running rebuild')
end
if chunk == loaded - 1 then
  return { 'loaded' }
end

-- Records change a copy of the fields they touch; it is written when all of them were found right.
local copies = { [STOCK] = {}, [BUYERS] = {}, [OPERATIONS] = {}, [CAMPAIGNS] = {}, [CLAIMS] = {}, [STARTS] = {} }

local function field_of(key, field)
  local value = copies[key][field]
  if value == nil then
    value = redis.call('HGET', key, field)
  end
  return value
end

local function put(key, field, value)
  copies[key][field] = value
end

local function add(key, field, units)
  put(key, field, tonumber(field_of(key, field) or 0) + units)
end

local position = 2
local function text()
  position = position + 1
  return ARGV[position] or ''
end
local function count()
  return whole(text())
end

local records = {}

function records.product()
  local product, total, sold = text(), count(), count()
  if not total or not sold or sold > total or field_of(STOCK, product .. ':available') then
    return 'product ' .. product .. ': named twice, or more was sold than there is'
  end
  put(STOCK, product .. ':available', total - sold)
  put(STOCK, product .. ':held', 0)
  put(STOCK, product .. ':sold', sold)
end

function records.campaign()
  local campaign, size, in_purchase = text(), count(), text()
  if not size or field_of(CAMPAIGNS, campaign .. ':size') or (in_purchase ~= '0' and in_purchase ~= '1') then
    return 'campaign ' .. campaign .. ': named twice, or without a size'
  end
  put(CAMPAIGNS, campaign .. ':size', size)
  put(CAMPAIGNS, campaign .. ':issued', 0)
  put(CAMPAIGNS, campaign .. ':in_purchase', in_purchase)
  for _, name in ipairs({ ':valid_from_ms', ':valid_until_ms', ':claims_from_ms' }) do
    local at = text()
    if at ~= '' then
      if not instant(at) then
        return 'campaign ' .. campaign .. ': no instant'
      end
      put(CAMPAIGNS, campaign .. name, at)
    end
  end
end

function records.units()
  local buyer, units = text(), count()
  if not units or units < 1 then
    return 'buyer ' .. buyer .. ': no units'
  end
  add(BUYERS, buyer, units)
end

function records.hold()
  local operation, buyer, line_count = text(), text(), count()
  local lines, units = {}, 0
  if not line_count or line_count < 1 or field_of(OPERATIONS, operation) then
    return 'hold ' .. operation .. ': named twice, or without lines'
  end
  for line = 1, line_count do
    local product, quantity = text(), count()
    local available = field_of(STOCK, product .. ':available')
    if not quantity or quantity < 1 or not available or tonumber(available) < quantity then
      return 'hold ' .. operation .. ': more units of ' .. product .. ' than there are'
    end
    put(STOCK, product .. ':available', available - quantity)
    add(STOCK, product .. ':held', quantity)
    lines[line] = product .. ':' .. ARGV[position]
    units = units + quantity
  end
  add(BUYERS, buyer, units)
  put(OPERATIONS, operation, 'held - reserve ' .. buyer .. ' ' .. table.concat(lines, ','))
end

function records.claim()
  local operation, buyer, campaign, state, from = text(), text(), text(), text(), text()
  local size, issued = field_of(CAMPAIGNS, campaign .. ':size'), field_of(CAMPAIGNS, campaign .. ':issued')
  if field_of(OPERATIONS, operation) or (state ~= 'issued' and state ~= 'held' and state ~= 'used') then
    return 'claim ' .. operation .. ': named twice, or in no known state'
  end
  if not size or tonumber(issued) >= tonumber(size) or field_of(CLAIMS, campaign .. ':' .. buyer) then
    return 'claim ' .. operation .. ': more claims than the campaign allows'
  end
  if from ~= '' and (state == 'issued' or from == operation or field_of(OPERATIONS, from)) then
    return 'claim ' .. operation .. ': taken over from what is no claim ahead'
  end
  add(CAMPAIGNS, campaign .. ':issued', 1)
  put(CLAIMS, campaign .. ':' .. buyer, operation)
  local claim = { state = state, epoch = '-', kind = 'claim', buyer = buyer, what = campaign, from = from }
  claim.purpose = state == 'issued' and 'ahead' or 'purchase'
  put(OPERATIONS, operation, text_of(claim))
  if from ~= '' then
    claim.state, claim.purpose, claim.from = state == 'used' and 'used' or 'taken', 'ahead', ''
    put(OPERATIONS, from, text_of(claim))
  end
end

local function know_start_of(operation)
  local start = start_of(operation)
  if start then
    put(STARTS, start, 1)
  end
end

function records.ended()
  local operation = text()
  if operation == '' then
    return 'an operation without a name ended'
  end
  if not field_of(OPERATIONS, operation) then
    put(OPERATIONS, operation, 'released - any')
    know_start_of(operation)
  end
end

function records.open()
  local operation = text()
  if operation == '' then
    return 'an operation without a name is open'
  end
  know_start_of(operation)
end

while position < #ARGV do
  local kind = text()
  if not records[kind] then
    return failure('INVALID', 'a record of an unknown kind: ' .. kind)
  end
  local wrong = records[kind]()
  if wrong then
    return failure('INVALID', wrong)
  end
end

local ARGUMENTS_MAX = 1000 -- of one HSET; `unpack` has a limit of about 8,000
for key, fields in pairs(copies) do
  local arguments = {}
  for field, value in pairs(fields) do
    arguments[#arguments + 1] = field
    arguments[#arguments + 1] = value
    if #arguments == ARGUMENTS_MAX then
      redis.call('HSET', key, unpack(arguments))
      arguments = {}
    end
  end
  if #arguments > 0 then
    redis.call('HSET', key, unpack(arguments))
  end
end
redis.call('HSET', META, 'chunks', chunk + 1)
return { 'loaded' }
