-- Reads the counters of a sale; writes nothing.
--
-- Answers: nil without a generation | {generation, fields and values of stock, fields and values of campaigns}.

local generation = redis.call('HGET', META, 'generation')
if not generation then
  return false
end
return { generation, redis.call('HGETALL', STOCK), redis.call('HGETALL', CAMPAIGNS) }
