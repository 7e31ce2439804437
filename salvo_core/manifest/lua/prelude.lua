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

-- Moves the release cursor so that at most `concurrency_max` trials are queued or running.
-- Returns the range [from, to) whose messages the caller must now publish.
local function release_more()
  local from, window = number(RUN, 'released'), number(RUN, 'concurrency_max')
  if window == 0 or redis.call('HGET', RUN, 'state') ~= 'running' then return from, from end
  local outstanding = from - number(COUNTERS, 'ended')
  local to = math.min(number(RUN, 'seeded'), from + math.max(0, window - outstanding))
  if to > from then redis.call('HSET', RUN, 'released', to) end
  return from, to
end

-- Books a reservation at `nano_usd` and `tokens`, or at its worst without them. A vote's name ends in ':judge'.
local function settle(budget, reservations, name, worst, nano_usd, tokens)
  local worst_nano_usd, worst_tokens = string.match(worst, '^(%d+) (%d+)$')
  local whose = string.match(name, '[^:]*$')
  redis.call('HDEL', reservations, name)
  redis.call('HINCRBY', budget, 'reserved_nano_usd', '-' .. worst_nano_usd)
  redis.call('HINCRBY', budget, 'reserved_tokens', '-' .. worst_tokens)
  redis.call('HINCRBY', budget, whose .. '_nano_usd', nano_usd or worst_nano_usd)
  redis.call('HINCRBY', budget, whose .. '_tokens', tokens or worst_tokens)
end

-- Ends a pending row that will not be run, for a reason of one word; returns as book_end and release_more do.
local function skip_row(index, attempt, trace_id, reason)
  write_row(index, 'skipped', attempt, trace_id, reason)
  count('pending', -1)
  count('skipped', 1)
  count('cell:' .. index % number(RUN, 'cells') .. ':skipped', 1)
  local last = book_end(1)
  return last, release_more()
end
