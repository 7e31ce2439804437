-- Lets rows in [lo, hi) that the budget kept from beginning wait again, of a run that is over, too.
-- ARGV: lo, hi -> how many
local again, cells = 0, number(RUN, 'cells')
local state = redis.call('HGET', RUN, 'state')
if not state or state == 'cancelling' or redis.call('HEXISTS', RUN, 'budget_closed') == 1 then return 0 end
let_cursor_stand_at(number(RUN, 'seeded'))
local released = number(RUN, 'released')
for index = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  local status, attempt, trace_id, rest = read_row(index)
  if status == 'skipped' and rest == 'budget' then
    write_row(index, 'pending', attempt, trace_id)
    count('cell:' .. index % cells .. ':skipped', -1)
    if index < released then wait_again(index) end
    again = again + 1
  end
end
if again == 0 then return 0 end
count('skipped', -again)
count('pending', again)
count('ended', -again)
redis.call('HINCRBY', RUN, 'budget_unbegun', -again)
settle()
redis.call('PERSIST', KEYS[6])
return again
