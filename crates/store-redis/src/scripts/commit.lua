-- commit v1: all of a batch of transitions, or none of it.
--
-- KEYS[1] the control hash; KEYS[2..] pages and directories.
-- ARGV: generation, broker, operation, channel, news or nothing, leave (`any` while nothing was lost, `ends`, `mends`),
-- number of checks, number of changes; then per check: kind, key, field, stamp; then per change: kind, key, directory or
-- 0, name in the directory, field, value.
-- Answers {'done', sequence, commits with a deny record, commits with an approval}, {'fenced', generation}, {'mending'}
-- or {'stale', number of the check, ...}.
local control =
  redis.call('HMGET', KEYS[1], 'generation', 'operation:' .. ARGV[2], 'sequence', 'denied', 'approvals', 'mending')
if control[2] == ARGV[3] then
  -- It happened before. A write all the same, so that a WAIT behind it covers it on this connection too.
  redis.call('HSET', KEYS[1], 'operation:' .. ARGV[2], ARGV[3])
  return {'done', control[3], control[4] or '0', control[5] or '0'}
end
if control[1] ~= ARGV[1] then
  return {'fenced', control[1] or ''}
end

if control[6] and ARGV[6] == 'any' then
  return {'mending'}
end

local at = 8
local stale = {'stale'}
for check = 1, tonumber(ARGV[7]) do
  local kind, key, field, stamp = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3], ARGV[at + 4]
  at = at + 4
  local found
  if kind == 'row' then
    local value = redis.call('HGET', key, field)
    found = value and string.sub(value, 1, 8) or ''
    if value and #found < 8 then
      -- Nothing that we wrote; it is set aside like any other row.
      found = found .. string.rep('\0', 8 - #found)
    end
  else
    found = redis.call('ZSCORE', key, field) and '1' or ''
  end
  if found ~= stamp then
    stale[#stale + 1] = check
  end
end
if #stale > 1 then
  return stale
end

for _ = 1, tonumber(ARGV[8]) do
  local kind, key, directory, name = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local field, value = ARGV[at + 5], ARGV[at + 6]
  at = at + 6
  local added, removed
  if kind == 'set' then
    added = redis.call('HSET', key, field, value) == 1 and directory > 0 and redis.call('HLEN', key) == 1
  elseif kind == 'unset' then
    removed = redis.call('HDEL', key, field) == 1
  elseif kind == 'add' then
    added = redis.call('ZADD', key, 0, field) == 1 and directory > 0 and redis.call('ZCARD', key) == 1
  else
    removed = redis.call('ZREM', key, field) == 1
  end
  if added then
    redis.call('ZADD', KEYS[directory], 0, name)
  elseif removed and directory > 0 and redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', KEYS[directory], name)
  end
end
redis.call('HSET', KEYS[1], 'operation:' .. ARGV[2], ARGV[3])
if ARGV[6] == 'mends' then
  redis.call('HDEL', KEYS[1], 'mending')
end
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
local denied, approvals = control[4] or '0', control[5] or '0'
if ARGV[5] == 'denied' or ARGV[5] == 'both' then
  denied = tostring(redis.call('HINCRBY', KEYS[1], 'denied', 1))
end
if ARGV[5] == 'approval' or ARGV[5] == 'both' then
  approvals = tostring(redis.call('HINCRBY', KEYS[1], 'approvals', 1))
end
if ARGV[5] ~= '' then
  redis.call('PUBLISH', ARGV[4], denied .. ' ' .. approvals)
end
return {'done', tostring(sequence), denied, approvals}
