-- Makes a trial that has ended wait again, with what it goes on from; opens its run again, if that is over.
-- KEYS[6] journal  KEYS[7] votes.  ARGV: index, the row as read, the row to be, earlier attempts (JSON, a line each),
-- how many of the following are counters, how many turns; counter field, increment, ..., turn, ..., vote's field,
-- vote, ... -> 1 done, 0 somebody has changed it since and nothing happened, -1 the run is being cancelled
local index, counters, turns = ARGV[1], tonumber(ARGV[5]), tonumber(ARGV[6])
local state = redis.call('HGET', RUN, 'state')
if (redis.call('HGET', ROWS, index) or '') ~= ARGV[2] then return 0 end
if not state or state == 'cancelling' then return -1 end
let_cursor_stand_at(number(RUN, 'seeded'))
redis.call('HSET', ROWS, index, ARGV[3])
if tonumber(index) < number(RUN, 'released') then wait_again(index) end
redis.call('DEL', KEYS[6], KEYS[7])
redis.call('HDEL', STRIKES, index)
redis.call('HDEL', RUN, 'at_once')
if ARGV[4] ~= '' then redis.call('HSET', SUSPECTS, index .. ':past', ARGV[4]) end
local at = 7
while at < 7 + counters do
  count(ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = at, at + turns - 1 do redis.call('RPUSH', KEYS[6], ARGV[i]) end
for i = at + turns, #ARGV, 2 do redis.call('HSET', KEYS[7], ARGV[i], ARGV[i + 1]) end
settle()
return 1
