-- probe v1: a write that changes nothing of the ledger, to see that one gets through; and how many pages there are.
--
-- KEYS[1] the probe; KEYS[2..] directories. ARGV: what is written.
-- Answers {what was read back, number of pages, ...}.
redis.call('HSET', KEYS[1], 'probe', ARGV[1])
local answers = {redis.call('HGET', KEYS[1], 'probe')}
for index = 2, #KEYS do
  answers[index] = redis.call('ZCARD', KEYS[index])
end
return answers
