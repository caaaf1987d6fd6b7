-- Moves a hold from held to paying, right before the charge: what was released by then is not charged for. It looks at no
-- clock: a hold ends by a release, and by nothing else.
--
-- ARGV: operation.
-- Answers: {paying} (also a repeat, and when it is sold) | {not-held} (refused, released, or this generation has not
-- seen it).

local operation = ARGV[1]

if not redis.call('HGET', META, 'generation') then
  return unavailable()
end

local outcome = outcome_of(operation)
if not outcome then
  return { 'not-held' }
end
if outcome.kind ~= 'reserve' and outcome.kind ~= 'any' then
  return mismatch()
end
if outcome.state == 'held' then
  store(operation, outcome, 'paying')
  return { 'paying' }
end
if outcome.state == 'paying' or outcome.state == 'sold' then
  return { 'paying' }
end
return { 'not-held' }
