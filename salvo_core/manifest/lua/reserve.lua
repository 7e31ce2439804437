-- Sets aside what an exchange costs at worst, for the attempt that holds the trial.
-- KEYS[6] budget  KEYS[7] reservations.  ARGV: index, attempt, worker, name, nano_usd, tokens,
-- then the plan's own limits, nano_usd and tokens, '' for none
-- -> 'granted' | 'wait' others have set aside what would do | 'spent' | 'lost'
local BUDGET, RESERVED, name = KEYS[6], KEYS[7], ARGV[4]
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 'lost' end
if redis.call('HEXISTS', RESERVED, name) == 1 then return 'granted' end -- sent again, its first reply lost
-- A budget that Redis lost is the plan's again; what finished trials cost is in the counters besides.
if ARGV[7] ~= '' then redis.call('HSETNX', BUDGET, 'nano_usd_max', ARGV[7]) end
if ARGV[8] ~= '' then redis.call('HSETNX', BUDGET, 'tokens_max', ARGV[8]) end
local function fits(unit, want, counted)
  local most = tonumber(redis.call('HGET', BUDGET, unit .. '_max') or 'inf')
  local spent = number(BUDGET, 'agent_' .. unit) + number(BUDGET, 'judge_' .. unit)
  spent = math.max(spent, counted)
  if spent + want > most then return 'spent' end
  if spent + number(BUDGET, 'reserved_' .. unit) + want > most then return 'wait' end
end
local usd = fits('nano_usd', tonumber(ARGV[5]),
  number(COUNTERS, 'cost_nano_usd') + number(COUNTERS, 'judge_cost_nano_usd'))
local tokens = fits('tokens', tonumber(ARGV[6]),
  number(COUNTERS, 'input_tokens') + number(COUNTERS, 'output_tokens'))
if usd == 'spent' or tokens == 'spent' then
  redis.call('HSET', RUN, 'budget_closed', 1) -- trials that have not begun never will
  return 'spent'
end
if usd or tokens then return 'wait' end
redis.call('HSET', RESERVED, name, ARGV[5] .. ' ' .. ARGV[6])
redis.call('HINCRBY', BUDGET, 'reserved_nano_usd', ARGV[5])
redis.call('HINCRBY', BUDGET, 'reserved_tokens', ARGV[6])
return 'granted'
