-- commit v1: all of a batch of transitions, or none of it.
--
-- KEYS[1] the control hash; KEYS[2..] pages and directories.
-- ARGV: generation, broker, operation, channel, news or nothing, leave (`any` while nothing was lost, `ends`, `mends`),
-- number of checks, number of changes; then per check: kind, key, field, stamp; then per change: kind, key, directory or
-- 0, name in the directory, field, value.
-- Answers {'done', sequence, commits with a deny record, commits with an approval}, {'fenced', generation}, {'mending'},
-- {'stale', number of the check, ...}, or the error `WRONGTYPE`: something would have to be written where somebody else's is.
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

-- How many are in each page and directory, as far as that was asked; false: it is something else and not ours.
local counts = {}
local function count(index, is_hash)
  if counts[index] == nil then
    local found = is_hash and redis.pcall('HLEN', KEYS[index]) or redis.pcall('ZCARD', KEYS[index])
    if type(found) ~= 'table' then
      counts[index] = found
    elseif string.sub(found.err, 1, 9) == 'WRONGTYPE' then
      counts[index] = false
    else
      error(found)
    end
  end
  return counts[index]
end

local at = 8
local stale = {'stale'}
for check = 1, tonumber(ARGV[7]) do
  local kind, index, field, stamp = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  at = at + 4
  local found = ''
  if kind == 'row' then
    local value = count(index, true) and redis.call('HGET', KEYS[index], field)
    if counts[index] == false then
      value = ''
    end
    found = value and string.sub(value, 1, 8) or ''
    if value and #found < 8 then
      -- Nothing that we wrote; it is set aside like any other row.
      found = found .. string.rep('\0', 8 - #found)
    end
  elseif count(index, false) then
    found = redis.call('ZSCORE', KEYS[index], field) and '1' or ''
  end
  if found ~= stamp then
    stale[#stale + 1] = check
  end
end
if #stale > 1 then
  return stale
end

-- A script that fails half way has written half of it, so whatever can fail does so before.
local first = at
for _ = 1, tonumber(ARGV[8]) do
  local kind, index, directory = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 6
  local ours = count(index, kind == 'set' or kind == 'unset')
  if directory > 0 and count(directory, false) == false then
    index, ours = directory, false
  end
  if ours == false and (kind == 'set' or kind == 'add') then
    return redis.error_reply('WRONGTYPE where we have ' .. string.match(KEYS[index], '^[^:]*:%a*'))
  end
end
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
local denied, approvals = control[4] or '0', control[5] or '0'
if ARGV[5] == 'denied' or ARGV[5] == 'both' then
  denied = tostring(redis.call('HINCRBY', KEYS[1], 'denied', 1))
end
if ARGV[5] == 'approval' or ARGV[5] == 'both' then
  approvals = tostring(redis.call('HINCRBY', KEYS[1], 'approvals', 1))
end

at = first
for _ = 1, tonumber(ARGV[8]) do
  local kind, index, directory, name = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  local key, field, value = KEYS[index], ARGV[at + 5], ARGV[at + 6]
  at = at + 6
  local more = 0
  if counts[index] == false then
    -- Nothing of ours is in it that could be removed.
  elseif kind == 'set' then
    more = redis.call('HSET', key, field, value)
  elseif kind == 'unset' then
    more = -redis.call('HDEL', key, field)
  elseif kind == 'add' then
    more = redis.call('ZADD', key, 0, field)
  else
    more = -redis.call('ZREM', key, field)
  end
  if more ~= 0 then
    local left = counts[index] + more
    counts[index] = left
    if directory > 0 and more == 1 and left == 1 then
      redis.call('ZADD', KEYS[directory], 0, name)
    elseif directory > 0 and left == 0 and counts[directory] then
      redis.call('ZREM', KEYS[directory], name)
    end
  end
end
redis.call('HSET', KEYS[1], 'operation:' .. ARGV[2], ARGV[3])
if ARGV[6] == 'mends' then
  redis.call('HDEL', KEYS[1], 'mending')
end
if ARGV[5] ~= '' then
  redis.call('PUBLISH', ARGV[4], denied .. ' ' .. approvals)
end
return {'done', tostring(sequence), denied, approvals}
