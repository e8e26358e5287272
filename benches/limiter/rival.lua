-- One call by ToolHive's contract, as its Go proxies decide it: whatever the outcome, each bucket is read, refilled and written.
--
-- KEYS  the buckets
-- ARGV  for each: capacity, tokens per second, seconds to live
-- Returns 1 or 0 (allowed or not), the first bucket that denied (0: none), milliseconds to wait

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local levels, denied_by, wait = {}, 0, 0
for i, key in ipairs(KEYS) do
    local capacity, rate = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
    local stored = redis.call('HMGET', key, 'tokens', 'last_refill')
    local level = tonumber(stored[1]) or capacity
    local elapsed = math.max(0, now - (tonumber(stored[2]) or now))
    levels[i] = math.min(capacity, level + elapsed / 1000000 * rate)
    if levels[i] < 1 and denied_by == 0 then
        denied_by, wait = i, math.ceil(1000 / rate)
    end
end
local cost = denied_by == 0 and 1 or 0
for i, key in ipairs(KEYS) do
    redis.call('HSET', key, 'tokens', levels[i] - cost, 'last_refill', now)
    redis.call('EXPIRE', key, ARGV[3 * i])
end
return { cost, denied_by, wait }
