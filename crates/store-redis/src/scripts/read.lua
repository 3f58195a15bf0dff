-- read v1: rows, whole pages and ranges, all as of one moment.
--
-- KEYS: what is read, behind the control hash if the first argument is a generation. ARGV: the generation that the ledger
-- must have, or nothing; then per key: kind, and what the kind needs: `row` a field, `entry` a member, `rows` nothing,
-- `up` and `down` the lower and the upper bound and how many.
-- Answers a list, an item per key; or the generation, when it is another one. Where there is no page of ours but something
-- else, each row and each list is an empty text, which nothing of ours is, and no entry is there.
local answers, at, before = {}, 1, 0
local function ours(answer, foreign)
  if type(answer) == 'table' and answer.err then
    if string.sub(answer.err, 1, 9) == 'WRONGTYPE' then
      return foreign
    end
    error(answer)
  end
  return answer
end
if ARGV[1] ~= '' then
  before = 1
  local generation = redis.call('HGET', KEYS[1], 'generation') or ''
  if generation ~= ARGV[1] then
    return generation
  end
end
for index = 1, #KEYS - before do
  local key, kind = KEYS[index + before], ARGV[at + 1]
  if kind == 'row' then
    answers[index] = ours(redis.pcall('HGET', key, ARGV[at + 2]), '')
    at = at + 2
  elseif kind == 'entry' then
    answers[index] = ours(redis.pcall('ZSCORE', key, ARGV[at + 2]), false) and '' or false
    at = at + 2
  elseif kind == 'rows' then
    answers[index] = ours(redis.pcall('HGETALL', key), '')
    at = at + 1
  elseif kind == 'up' then
    local range = redis.pcall('ZRANGEBYLEX', key, ARGV[at + 2], ARGV[at + 3], 'LIMIT', 0, ARGV[at + 4])
    answers[index] = ours(range, '')
    at = at + 4
  else
    local range = redis.pcall('ZREVRANGEBYLEX', key, ARGV[at + 3], ARGV[at + 2], 'LIMIT', 0, ARGV[at + 4])
    answers[index] = ours(range, '')
    at = at + 4
  end
end
return answers
