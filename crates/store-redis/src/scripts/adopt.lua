-- adopt v1: a new generation of the ledger, if it is still the one that was seen.
--
-- KEYS[1] the control hash. ARGV: the generation that was seen (empty: none), the new one, its home, its history, and
-- '1' if the ledger has lost something. The base is the sequence that the generation begins after.
-- Answers {'done'}, {'fenced', generation}, or {'restoring'} while rows of a backup go in.
local generation = redis.call('HGET', KEYS[1], 'generation') or ''
if generation ~= ARGV[1] then
  return {'fenced', generation}
end
if redis.call('HGET', KEYS[1], 'restoring') then
  return {'restoring'}
end
local base = redis.call('HGET', KEYS[1], 'sequence') or '0'
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'home', ARGV[3], 'history', ARGV[4], 'base', base)
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[1], 'mending', '1', 'mended', ARGV[2])
end
return {'done'}
