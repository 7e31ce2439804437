-- Books, at their worst, reservations whose attempt no longer holds its trial: what it sent may have been billed.
-- KEYS[6] budget  KEYS[7] reservations.  ARGV: none -> how many
-- There are at most so many as exchanges under way at once.
local found, booked = redis.call('HGETALL', KEYS[7]), 0
for i = 1, #found, 2 do
  local index, attempt = string.match(found[i], '^(%d+):(%d+):')
  local status, held
  if index then status, held = read_row(index) end
  if status ~= 'running' or held ~= attempt then
    book(KEYS[6], KEYS[7], found[i], found[i + 1])
    booked = booked + 1
  end
end
return booked
