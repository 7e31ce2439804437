-- Hands out the right to attempt a trial. ARGV: index, trace_id, worker, lease_ms
-- -> {'claimed', attempt, purpose, strikes, lost attempts} purpose: run | close_cancelled | close_lost | close_unread
--  | {'suspect'} this worker holds another one
--  | {'paused'} | {'done', status} | {'held', worker} | {'cancelled', is_last} | {'unknown'}
--  | {'skipped', is_last, release_from, release_to, index passed over, ...}
local index, worker = ARGV[1], ARGV[3]
local state = redis.call('HGET', RUN, 'state')
local status, attempt, trace_id, rest = read_row(index)
if not state or not status or trace_id ~= ARGV[2] then return {'unknown'} end
-- A worker asks for what it holds only if the answer to its first question was lost on the way.
local again = status == 'running' and rest == worker
if status == 'running' and not again then return {'held', rest} end
if status ~= 'pending' and not again then return {'done', status} end
if state == 'paused' and not again then return {'paused'} end
-- An old message of a trial that waits again: its own comes when there is a place for it.
if status == 'pending' and redis.call('ZSCORE', AGAIN, index) then return {'paused'} end

local cancelling = state == 'cancelling'
if cancelling and attempt == '0' then
  -- It never ran, so there is nothing to keep: the row alone says what became of it.
  write_row(index, 'cancelled', 0, trace_id)
  count('pending', -1)
  count('cancelled', 1)
  return {'cancelled', book_end(1)}
end

if attempt == '0' and redis.call('HEXISTS', RUN, 'budget_closed') == 1 then
  return before(skip_row(index, 0, trace_id, 'budget'), 'skipped')
end

if again then let_suspect_go(index) end
local purpose, strikes = 'run', number(STRIKES, index)
if cancelling then
  purpose = 'close_cancelled'
elseif strikes >= number(RUN, 'attempts_max') + 2 then
  purpose = 'close_unread' -- two workers vanished that were only to store what there is
elseif strikes >= number(RUN, 'attempts_max') then
  purpose = 'close_lost'
elseif strikes > 0 then
  if not again and not has_room(worker, strikes) then return {'suspect'} end
  hold_suspect(index, worker, strikes)
end
local next_attempt = tonumber(attempt) + 1
local now = now_ms()
write_row(index, 'running', next_attempt, trace_id, worker)
redis.call('ZADD', LEASES, now + tonumber(ARGV[4]), index)
redis.call('HSETNX', RUN, 'started_ms', now)
-- It lives, whatever was thought of it. (Not before the row: a server that is full would let a trial begin.)
redis.call('HDEL', SUSPECTS, 'blamed:' .. worker)
if not again then
  count('pending', -1)
  count('running', 1)
end
count('claims', 1)
return {'claimed', next_attempt, purpose, strikes, redis.call('HGET', SUSPECTS, index .. ':past') or ''}
