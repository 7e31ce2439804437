-- Ends never-begun rows of one cell without running them: it is decided without them.
-- ARGV: first index, stop, step (the run's cells), reason
-- -> {rows ended, is_last, rows seeded, release_from, release_to, index not to release, ...}
-- Rows with attempts behind them may have paid turns in their journal: they finish and count.
-- Of a run that is cancelled or over, where there is nothing to skip, every row is said to be seeded.
local first, step = tonumber(ARGV[1]), tonumber(ARGV[3])
local state, released = redis.call('HGET', RUN, 'state'), number(RUN, 'released')
if state ~= 'submitting' and state ~= 'running' and state ~= 'paused' then
  return {0, 0, number(RUN, 'total'), released, released}
end
local ended, ahead = 0, 0
for index = first, tonumber(ARGV[2]) - 1, step do
  local status, attempt, trace_id = read_row(index)
  if status == 'pending' and attempt == '0' then
    write_row(index, 'skipped', 0, trace_id, ARGV[4])
    ended = ended + 1
    if index >= released then ahead = ahead + 1 end
  end
end
local seeded = number(RUN, 'seeded')
if ended == 0 then return {0, 0, seeded, released, released} end
count('pending', -ended)
count('skipped', ended)
count('cell:' .. first % step .. ':skipped', ended)
count('skipped_ahead', ahead)
local last = book_end(ended)
return before(release_more(), ended, last, seeded)
