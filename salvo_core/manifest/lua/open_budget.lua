-- Sets a run's limits unless they are set, and begins its books with what trials that have ended cost.
-- KEYS[6] budget.  ARGV: nano_usd and tokens, '' for none, 1 for a re-evaluation -> nothing
-- Books that are there know more: exchanges of trials that have not ended. A run that was over goes on with its own.
local BUDGET, reeval = KEYS[6], ARGV[3] == '1'
for i, field in ipairs({'nano_usd_max', 'tokens_max'}) do
  if ARGV[i] ~= '' then redis.call('HSETNX', BUDGET, field, ARGV[i]) end
end
redis.call('PERSIST', BUDGET)
if redis.call('HEXISTS', BUDGET, 'agent_nano_usd') == 1 or redis.call('HEXISTS', BUDGET, 'judge_nano_usd') == 1 then
  return
end
if number(COUNTERS, 'ended') == 0 then return end
redis.call('HSET', BUDGET, 'judge_nano_usd', number(COUNTERS, 'judge_cost_nano_usd'))
if reeval then return end -- what its conversations took was another run's to pay
redis.call('HSET', BUDGET, 'agent_nano_usd', number(COUNTERS, 'cost_nano_usd'),
  'agent_tokens', number(COUNTERS, 'input_tokens') + number(COUNTERS, 'output_tokens'))
