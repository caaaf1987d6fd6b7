-- Reads some of the stored outcomes of a sale; writes nothing.
--
-- ARGV: cursor (0 to begin with, then what the last answer said), about how many.
-- Answers: {generation, the next cursor (0: all were seen), operations and their stored outcomes}. What is there from
-- the first call to the last is named at least once; the rest may be.

local cursor, limit = ARGV[1], whole(ARGV[2])

local generation = redis.call('HGET', META, 'generation')
if not generation then
  return unavailable()
end
if not cursor or #cursor > 20 or not string.find(cursor, '^%d+$') or not limit or limit < 1 or limit > 5000 then
  return failure('INVALID', 'no cursor, or not from 1 to 5,000 operations')
end

local page = redis.call('HSCAN', OPERATIONS, cursor, 'COUNT', limit)
return { generation, page[1], page[2] }
