-- Sets aside what an exchange costs at worst, for the attempt that holds the trial.
-- KEYS[6] budget  KEYS[7] reservations.  ARGV: index, attempt, worker, name, nano_usd, tokens,
-- then the plan's own limits, nano_usd and tokens, '' for none, and 1 if the trial has said nothing yet
-- -> 'granted' | 'wait' others have set aside what would do | 'spent' | 'lost'
local BUDGET, RESERVED, name = KEYS[6], KEYS[7], ARGV[4]
if not holds(ARGV[1], ARGV[2], ARGV[3]) then return 'lost' end
if redis.call('HEXISTS', RESERVED, name) == 1 then return 'granted' end -- sent again, its first reply lost
-- A budget that Redis lost is the plan's again; what finished trials cost is in the counters besides.
if ARGV[7] ~= '' then redis.call('HSETNX', BUDGET, 'nano_usd_max', ARGV[7]) end
if ARGV[8] ~= '' then redis.call('HSETNX', BUDGET, 'tokens_max', ARGV[8]) end
-- What a re-evaluation's rows say of conversations was another run's to pay: only judges cost it anything.
local reeval = redis.call('HGET', RUN, 'reeval') == '1'
-- A trial begins only where money is left to end those under way, as far as one can guess what they will take:
-- the mean of those that ended, or a few exchanges. Else a budget would buy many beginnings and no end. Nothing
-- rests on the guess: while nobody has anything set aside, whatever fits is granted.
local ended = number(COUNTERS, 'ended') - number(RUN, 'budget_unbegun')
local under_way = 0
if ARGV[9] == '1' and redis.call('HLEN', RESERVED) > 0 then
  under_way = math.max(0, number(BUDGET, 'begun') - ended) + 1
end
local EXCHANGES_GUESSED = 4
local function fits(unit, want, counted)
  local most = tonumber(redis.call('HGET', BUDGET, unit .. '_max') or 'inf')
  local spent = number(BUDGET, 'agent_' .. unit) + number(BUDGET, 'judge_' .. unit)
  spent = math.max(spent, counted)
  if spent + want > most then return 'spent' end
  local kept = number(BUDGET, 'reserved_' .. unit) + want
  if under_way > 0 then
    local known = reeval and spent or counted
    kept = math.max(kept, under_way * (ended > 0 and known / ended or want * EXCHANGES_GUESSED))
  end
  if spent + kept > most then return 'wait' end
end
local usd = fits('nano_usd', tonumber(ARGV[5]),
  (reeval and 0 or number(COUNTERS, 'cost_nano_usd')) + number(COUNTERS, 'judge_cost_nano_usd'))
local tokens = fits('tokens', tonumber(ARGV[6]),
  reeval and 0 or number(COUNTERS, 'input_tokens') + number(COUNTERS, 'output_tokens'))
if usd == 'spent' or tokens == 'spent' then
  redis.call('HSET', RUN, 'budget_closed', 1) -- trials that have not begun never will
  return 'spent'
end
if usd or tokens then return 'wait' end
if ARGV[9] == '1' then redis.call('HINCRBY', BUDGET, 'begun', 1) end
redis.call('HSET', RESERVED, name, ARGV[5] .. ' ' .. ARGV[6])
redis.call('HINCRBY', BUDGET, 'reserved_nano_usd', ARGV[5])
redis.call('HINCRBY', BUDGET, 'reserved_tokens', ARGV[6])
return 'granted'
