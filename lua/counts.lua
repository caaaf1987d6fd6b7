-- Reads the counters of a sale; writes nothing.
--
-- Answers: nil without a generation | {generation, revision, fields and values of stock, fields and values of campaigns}.

local meta = redis.call('HMGET', META, 'generation', 'revision')
if not meta[1] then
  return false
end
return { meta[1], meta[2] or '0', redis.call('HGETALL', STOCK), redis.call('HGETALL', CAMPAIGNS) }
