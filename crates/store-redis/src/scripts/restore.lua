-- restore v1: rows into a ledger that has none. No broker takes up a ledger while they come.
--
-- KEYS[1] the control hash; KEYS[2..] pages and directories.
-- ARGV: whose rows, how it goes on ('more', 'whole', 'lost': whole, but ends are missing in it), number of rows; then per
-- row: kind, key, directory or 0, name in the directory, field, value.
-- Answers {'done'}, or {'taken'} when there is a ledger already, or others' rows.
local restoring = redis.call('HGET', KEYS[1], 'restoring')
if restoring ~= ARGV[1] and redis.call('EXISTS', KEYS[1]) == 1 then
  return {'taken'}
end
redis.call('HSET', KEYS[1], 'restoring', ARGV[1])
local at = 3
for _ = 1, tonumber(ARGV[3]) do
  local kind, key, directory = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3])
  if kind == 'set' then
    redis.call('HSET', key, ARGV[at + 5], ARGV[at + 6])
  else
    redis.call('ZADD', key, 0, ARGV[at + 5])
  end
  if directory > 0 then
    redis.call('ZADD', KEYS[directory], 0, ARGV[at + 4])
  end
  at = at + 6
end
if ARGV[2] ~= 'more' then
  redis.call('HDEL', KEYS[1], 'restoring')
  redis.call('HSET', KEYS[1], 'restored', ARGV[1])
  if ARGV[2] == 'lost' then
    redis.call('HSET', KEYS[1], 'mending', '1')
  end
end
return {'done'}
