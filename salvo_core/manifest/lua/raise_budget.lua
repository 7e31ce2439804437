-- Raises a run's budget; never lowers it. KEYS[6] budget.
-- ARGV: nano_usd and tokens, '' leaves that one as it is -> 1 raised, 0 it was that high, or there is no such limit
local raised = 0
for i, field in ipairs({'nano_usd_max', 'tokens_max'}) do
  local most = redis.call('HGET', KEYS[6], field)
  if most and ARGV[i] ~= '' and tonumber(ARGV[i]) > tonumber(most) then
    redis.call('HSET', KEYS[6], field, ARGV[i])
    raised = 1
  end
end
if raised == 1 then redis.call('HDEL', RUN, 'budget_closed') end
return raised
