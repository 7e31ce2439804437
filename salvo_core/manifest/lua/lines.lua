-- Reads rows as they are written. ARGV: the first index, one behind the last
-- -> one text, a line a row, empty where none was seeded: a reply per row is what reading them costs a client
local indices = {}
for index = tonumber(ARGV[1]), ARGV[2] - 1 do indices[#indices + 1] = index end
local lines = redis.call('HMGET', ROWS, unpack(indices))
for place, line in ipairs(lines) do
  if not line then lines[place] = '' end
end
return table.concat(lines, '\n')
