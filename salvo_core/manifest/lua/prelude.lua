-- Shared by every script of a run; each script's own text follows this one.
-- KEYS[1] run header   KEYS[2] manifest rows   KEYS[3] counters   KEYS[4] leases   KEYS[5] strikes
-- Time is the server's (TIME), never a caller's: machines disagree, the lease must not.
local RUN, ROWS, COUNTERS, LEASES, STRIKES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Returns status, attempt, trace_id, rest; nothing when there is no such row.
local function read_row(index)
  local line = redis.call('HGET', ROWS, index)
  if not line then return nil end
  return string.match(line, '^(%S+) (%d+) (%S+) ?(.*)$')
end

local function write_row(index, status, attempt, trace_id, rest)
  local line = status .. ' ' .. attempt .. ' ' .. trace_id
  if rest and rest ~= '' then line = line .. ' ' .. rest end
  redis.call('HSET', ROWS, index, line)
end

local function count(field, by)
  redis.call('HINCRBY', COUNTERS, field, by)
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

-- The run's state as those who hold trials of it are told: cancelled at once is a word of its own to them.
local function state_told()
  local state = redis.call('HGET', RUN, 'state') or 'unknown'
  return state == 'cancelling' and redis.call('HEXISTS', RUN, 'at_once') == 1 and 'cancelling_at_once' or state
end

-- True when this attempt of this worker is the one that holds the trial: the fence.
local function holds(index, attempt, worker)
  local status, held_attempt, trace_id, holder = read_row(index)
  return status == 'running' and held_attempt == attempt and holder == worker, trace_id
end

-- Books `ended` more terminal rows; closes the run with its last one. Returns 1 when that was the last.
local function book_end(ended)
  local total_ended = redis.call('HINCRBY', COUNTERS, 'ended', ended)
  if total_ended < number(RUN, 'total') then return 0 end
  redis.call('HSET', RUN, 'state', 'finished', 'finished_ms', now_ms())
  return 1
end

-- Brings the state of a run in line with its counters after they were put right from outside: a run is over when
-- every row has ended, and not before. A run without a header, which is being rebuilt, has no state yet.
local function settle()
  local state = redis.call('HGET', RUN, 'state')
  local over = state and number(COUNTERS, 'ended') >= number(RUN, 'total')
  if over and (state == 'running' or state == 'cancelling') then
    redis.call('HSET', RUN, 'state', 'finished')
    redis.call('HSETNX', RUN, 'finished_ms', now_ms())
  elseif not over and (state == 'finished' or state == 'sealed') then
    redis.call('HSET', RUN, 'state', 'running')
    redis.call('HDEL', RUN, 'finished_ms', 'verdict', 'exit_code')
    for _, key in ipairs({RUN, ROWS, COUNTERS}) do redis.call('PERSIST', key) end
  end
end

-- Trials that wait again (retried, or let run by a higher budget) and whose messages are not sent yet: of a run
-- that bounds how many run at once they wait for a place there, of any other for room in the queue.
-- They lie behind the cursor and take nobody's place. A zset of indices.
local AGAIN = KEYS[#KEYS - 1]

-- Lets a trial wait again, whose message is sent as those of others are. The caller has written its row.
local function wait_again(index)
  redis.call('ZADD', AGAIN, index, index)
end

-- Of a run that is over every row has ended, and none of them takes a place when it goes on.
local function let_cursor_stand_at(rows)
  local state = redis.call('HGET', RUN, 'state')
  if state ~= 'finished' and state ~= 'sealed' then return end
  redis.call('HSET', RUN, 'released', rows)
  redis.call('HDEL', COUNTERS, 'skipped_ahead')
end

-- Rows that one call looks at while it moves the release cursor: a decided cell's rows lie a run's cells apart.
local PASSED_MAX = 10000

-- Moves the release cursor over at most `most` rows that want running, so that at most `concurrency_max` of
-- them are queued or running. Rows that were skipped ahead of it take nobody's place: it passes them over.
-- Those that wait again go first, behind it as they are.
-- Returns {from, to, index passed over, ..., -1 - index that goes out again, ...}: the caller must now publish the
-- others in [from, to), and those behind.
local function move_cursor(most)
  local from, seeded, window = number(RUN, 'released'), number(RUN, 'seeded'), number(RUN, 'concurrency_max')
  local ahead, out = number(COUNTERS, 'skipped_ahead'), {}
  local waiting = redis.call('ZCARD', AGAIN)
  if window > 0 then
    most = math.min(most, window - (from - (number(COUNTERS, 'ended') - ahead) - waiting))
  end
  if waiting > 0 and most > 0 then
    local popped = redis.call('ZPOPMIN', AGAIN, most)
    for i = 1, #popped, 2 do out[#out + 1] = -1 - popped[i] end
    most = most - #out
  end
  local moved, to = {from, from}, math.min(seeded, from + math.max(0, most))
  if ahead > 0 and most > 0 then
    to = from
    local stop = math.min(seeded, from + PASSED_MAX)
    while to < stop and most > 0 do
      if read_row(to) == 'skipped' then moved[#moved + 1] = to else most = most - 1 end
      to = to + 1
    end
    count('skipped_ahead', 2 - #moved)
  end
  if to > from then redis.call('HSET', RUN, 'released', to) end
  moved[2] = to
  for _, index in ipairs(out) do moved[#moved + 1] = index end
  return moved
end

-- As move_cursor, when trials have ended: fills the places that they left.
local function release_more()
  local from = number(RUN, 'released')
  if number(RUN, 'concurrency_max') == 0 or redis.call('HGET', RUN, 'state') ~= 'running' then
    return {from, from}
  end
  return move_cursor(number(RUN, 'seeded'))
end

-- Puts values in front of a list. (`unpack` of a long list would overflow Lua's stack.)
local function before(list, ...)
  for i = select('#', ...), 1, -1 do table.insert(list, 1, (select(i, ...))) end
  return list
end

-- Books a reservation at `nano_usd` and `tokens`, or at its worst without them. A vote's name ends in ':judge'.
local function book(budget, reservations, name, worst, nano_usd, tokens)
  local worst_nano_usd, worst_tokens = string.match(worst, '^(%d+) (%d+)$')
  local whose = string.match(name, '[^:]*$')
  redis.call('HDEL', reservations, name)
  -- (Redis takes no -0 for a number.)
  if worst_nano_usd ~= '0' then redis.call('HINCRBY', budget, 'reserved_nano_usd', '-' .. worst_nano_usd) end
  if worst_tokens ~= '0' then redis.call('HINCRBY', budget, 'reserved_tokens', '-' .. worst_tokens) end
  redis.call('HINCRBY', budget, whose .. '_nano_usd', nano_usd or worst_nano_usd)
  redis.call('HINCRBY', budget, whose .. '_tokens', tokens or worst_tokens)
end

-- Ends a pending row that will not be run, for a reason of one word; returns {is_last, release_more...}.
local function skip_row(index, attempt, trace_id, reason)
  write_row(index, 'skipped', attempt, trace_id, reason)
  count('pending', -1)
  count('skipped', 1)
  count('cell:' .. index % number(RUN, 'cells') .. ':skipped', 1)
  redis.call('HINCRBY', RUN, 'budget_unbegun', 1)
  local last = book_end(1)
  return before(release_more(), last)
end

-- A worker that vanished had some trial on its hands that ended it, or none: nobody knows which. All it held are
-- struck, and are suspects until they get past the place where it happened (a turn or a vote is kept). While a
-- worker holds a suspect it is given no other, so that the next crash names the one to blame, and that one alone.
-- SUSPECTS, a hash:  <index>:on -> worker that holds this suspect now   <index>:past -> lost attempts, JSON a line
--                    held:<worker> -> suspects it holds, by weight      blamed:<worker> -> 1: one of them explains
--                                                                       why it vanished
local SUSPECTS = KEYS[#KEYS]
local ALONE = 1000 -- weight of a trial that was struck again in company: no other suspect may be beside it
local SIFTED_IN = 16 -- where many are suspects, so many rounds go through them; few are tried one at a time

local function weight_of(strikes)
  return strikes > 1 and ALONE or 1
end

-- Whether worker may be given a suspect with so many strikes beside those it holds.
local function has_room(worker, strikes)
  local held, weight = number(SUSPECTS, 'held:' .. worker), weight_of(strikes)
  return held == 0 or held + weight <= math.min(ALONE - 1, math.floor(redis.call('HLEN', STRIKES) / SIFTED_IN))
end

local function hold_suspect(index, worker, strikes)
  redis.call('HSET', SUSPECTS, index .. ':on', worker)
  redis.call('HINCRBY', SUSPECTS, 'held:' .. worker, weight_of(strikes))
end

-- The trial got past the place, ended, or was given back: its worker may be given another suspect.
-- Returns what the worker held until now, nothing when this was no suspect of a worker's.
local function let_suspect_go(index)
  local worker = redis.call('HGET', SUSPECTS, index .. ':on')
  if not worker then return nil end
  local held, weight = number(SUSPECTS, 'held:' .. worker), weight_of(number(STRIKES, index))
  redis.call('HDEL', SUSPECTS, index .. ':on')
  if held > weight then
    redis.call('HSET', SUSPECTS, 'held:' .. worker, held - weight)
  else
    redis.call('HDEL', SUSPECTS, 'held:' .. worker)
  end
  return held
end

-- The trial did something that is kept: what happened to its workers before was not its doing.
local function acquit(index)
  if redis.call('HEXISTS', STRIKES, index) == 0 then return end
  let_suspect_go(index)
  redis.call('HDEL', STRIKES, index)
end
