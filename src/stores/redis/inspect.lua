-- Reads buckets as script.lua does, without changing them.
--
-- KEYS  the buckets
-- Returns the time, then for each key a list
--       (empty)              no such key: the bucket is full
--       'unusable'           the key does not hold a bucket
--       tokens, since, ttl   the level and its time as text, and the TTL in milliseconds, -1 if it never expires

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local out = { now }
for k = 1, #KEYS do
    local state = redis.pcall('HMGET', KEYS[k], 'tokens', 'last_refill')
    local found = {}
    if state.err then
        if not string.find(state.err, 'WRONGTYPE', 1, true) then
            return state
        end
        found = { 'unusable' }
    elseif state[1] then
        local level, refilled = tonumber(state[1]), tonumber(state[2] or '')
        local since = refilled and refilled > 0 and math.floor(refilled) or 0
        if level == nil or level ~= level or refilled == nil or refilled ~= refilled then
            since = now
        end
        level = level == level and level and level > 0 and level or 0
        found = { string.format('%.17g', level), string.format('%.0f', since), redis.call('PTTL', KEYS[k]) }
    end
    out[k + 1] = found
end
return out
