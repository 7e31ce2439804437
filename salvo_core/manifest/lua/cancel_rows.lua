-- Ends the never-begun rows of a cancelled run in [lo, hi). ARGV: lo, hi -> {rows ended, is_last}
-- Rows with attempts behind them may have paid turns in their journal: a worker closes those.
if redis.call('HGET', RUN, 'state') ~= 'cancelling' then return {0, 0} end
local ended = 0
for index = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  local status, attempt, trace_id = read_row(index)
  if status == 'pending' and attempt == '0' then
    write_row(index, 'cancelled', 0, trace_id)
    ended = ended + 1
  end
end
if ended == 0 then return {0, 0} end
count('pending', -ended)
count('cancelled', ended)
return {ended, book_end(ended)}
