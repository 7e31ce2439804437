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

-- Rows that one call looks at while it moves the release cursor: a decided cell's rows lie a run's cells apart.
local PASSED_MAX = 10000

-- Moves the release cursor over at most `most` rows that want running, so that at most `concurrency_max` of
-- them are queued or running. Rows that were skipped ahead of it take nobody's place: it passes them over.
-- Returns {from, to, index passed over, ...}: the caller must now publish the others in [from, to).
local function move_cursor(most)
  local from, seeded, window = number(RUN, 'released'), number(RUN, 'seeded'), number(RUN, 'concurrency_max')
  local ahead = number(COUNTERS, 'skipped_ahead')
  if window > 0 then most = math.min(most, window - (from - (number(COUNTERS, 'ended') - ahead))) end
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
