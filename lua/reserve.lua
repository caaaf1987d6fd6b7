-- Holds the units of all lines for a buyer, or none of them.
--
-- ARGV: operation, remember, epoch, held|paying, buyer, then product and quantity of each line (products distinct).
-- Answers: {held} | {sold} (a repeat after the confirmation)
--        | {refused, reason, earlier, detail}: sold-out <product>, limit-reached <limit>, sale-cancelled,
--          sale-not-open <opens_at_ms>, sale-closed <closes_at_ms>, unknown-product <product>, released. `earlier` is 1
--          when the buyer has something in the sale, or the start is known: it may be a repeat of one that was accepted;
--          2 while another copy of the start has something. `remember` and `earlier` are told of in prelude.lua.

local operation, remember, epoch, hold, buyer = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local meta = redis.call('HMGET', META, 'generation', 'cancelled', 'opens_at_ms', 'closes_at_ms', 'per_buyer_limit')
if not meta[1] then
  return unavailable()
end

local products, quantities, lines, available_fields = {}, {}, {}, {}
local units, seen = 0, {}
for argument = 6, #ARGV, 2 do
  local product, quantity = ARGV[argument], whole(ARGV[argument + 1])
  if seen[product] or not quantity or quantity < 1 then
    return failure('INVALID', 'each line names another product and at least one unit')
  end
  seen[product] = true
  local line = #lines + 1
  products[line], quantities[line] = product, quantity
  lines[line] = product .. ':' .. ARGV[argument + 1]
  available_fields[line] = product .. ':available'
  units = units + quantity
end
if units == 0 or not is_epoch(epoch) or (hold ~= 'held' and hold ~= 'paying') then
  return failure('INVALID', 'a reservation has an epoch, a state and at least one line')
end
local made = { epoch = epoch, kind = 'reserve', buyer = buyer, what = table.concat(lines, ',') }

local units_before = tonumber(redis.call('HGET', BUYERS, buyer) or 0)

local outcome = outcome_of(operation)
if outcome then
  if not is_repeat(outcome, 'reserve', buyer, made.what, '') then
    return mismatch()
  end
  local reason, detail = stored_refusal(outcome.state)
  if reason then
    return refused(operation, units_before > 0, reason, detail)
  end
  raise_epoch(operation, outcome, epoch)
  return { outcome.state == 'sold' and 'sold' or 'held' }
end

local function no(reason, detail)
  return refuse(operation, made, remember, units_before > 0, reason, detail)
end

local reason, detail = not_open(meta[2], meta[3], meta[4], now_ms())
if reason then
  return no(reason, detail)
end

local available = redis.call('HMGET', STOCK, unpack(available_fields))
for line = 1, #lines do
  if not available[line] then
    return no('unknown-product', products[line])
  end
end
if units_before + units > tonumber(meta[5]) then
  return no('limit-reached', meta[5])
end
for line = 1, #lines do
  if tonumber(available[line]) < quantities[line] then
    return no('sold-out', products[line])
  end
end

for line = 1, #lines do
  redis.call('HINCRBY', STOCK, products[line] .. ':held', quantities[line])
  redis.call('HINCRBY', STOCK, available_fields[line], -quantities[line])
end
redis.call('HINCRBY', BUYERS, buyer, units)
store_taken(operation, made, hold)
return { 'held' }
