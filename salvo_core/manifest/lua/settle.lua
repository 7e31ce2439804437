-- Books what an exchange was billed in place of what was set aside for it, once.
-- KEYS[6] budget  KEYS[7] reservations.  ARGV: name, then nano_usd and tokens; without them, all that was set aside
-- -> 1 booked, 0 it was booked before, -1 nobody knows of it now: its trial is not held, or the server lost its memory
local worst = redis.call('HGET', KEYS[7], ARGV[1])
if not worst then
  local index, attempt = string.match(ARGV[1], '^(%d+):(%d+):')
  local status, held
  if index then status, held = read_row(index) end
  return status == 'running' and held == attempt and 0 or -1
end
book(KEYS[6], KEYS[7], ARGV[1], worst, ARGV[2], ARGV[3])
return 1
