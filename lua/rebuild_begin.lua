-- Forgets a sale, its generation first of all: from here on every call is UNAVAILABLE, until rebuild_finish.lua.
--
-- ARGV: the generation that will be loaded, or '' to close the gate and load nothing.
-- Answers: {begun}.

local generation = ARGV[1]

redis.call('UNLINK', META, STOCK, BUYERS, OPERATIONS, CAMPAIGNS, CLAIMS, STARTS)
if generation ~= '' then
  redis.call('HSET', META, 'rebuilding', generation, 'chunks', 0)
end
return { 'begun' }
