-- Decides a batch of calls, in the order in which they came, as limiter::settle does one by one.
--
-- KEYS  the buckets, each once
-- ARGV  1         how many terms there are
--       2 .. 7    the first term: capacity, tokens per microsecond, two refill periods in microseconds, seconds to live, cost,
--                 whether it is enforced (1) or in shadow (0); and so on, six for each
--       the last  the calls: for each, how many buckets it draws on, and for each of those which key and which term, all counted
--                 from 1 and as two bytes, the high one first
-- Returns the time, then for each call
--       remaining                  allowed; -1 when no bucket was enforced
--       -2, by, wait               denied by its by-th bucket; the wait in microseconds, -1 for ever
--       -3, remaining, by, wait    allowed, and the by-th bucket, in shadow, would have denied
--       -4, by                     not decided, nothing taken: what its by-th bucket's key holds is no bucket
-- Nothing is written for a call that is denied, unless a state that cannot be true has to be repaired.

local EPSILON = 1e-9
local byte, ceil, floor = string.byte, math.ceil, math.floor

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local capacity, rate, two_periods, ttl, cost, enforced = {}, {}, {}, {}, {}, {}
for t = 1, tonumber(ARGV[1]) do
    local a = 6 * t - 4
    capacity[t], rate[t], two_periods[t] = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
    ttl[t], cost[t], enforced[t] = ARGV[a + 3], tonumber(ARGV[a + 4]), ARGV[a + 5] == '1'
end

-- A bucket without tokens is full. One whose fields make no sense is empty as of now, and stored so.
local tokens, since, expires, unusable, corrupt, changed = {}, {}, {}, {}, {}, {}
for k = 1, #KEYS do
    local state = redis.pcall('HMGET', KEYS[k], 'tokens', 'last_refill', 'expires')
    if state.err then
        if not string.find(state.err, 'WRONGTYPE', 1, true) then
            return state
        end
        unusable[k] = true
    elseif state[1] then
        local level, refilled = tonumber(state[1]), tonumber(state[2] or '')
        corrupt[k] = level ~= level or level == nil or refilled ~= refilled or refilled == nil
        tokens[k] = level == level and level and level > 0 and level or 0
        since[k] = refilled == refilled and refilled and refilled > 0 and floor(refilled) or 0
        if corrupt[k] then
            since[k] = now
        end
        expires[k] = tonumber(state[3] or '')
    end
end

-- The least time in which a level reaches a target. The quotient is within a few microseconds of it.
local function us_until(level, target, per_us)
    local us = ceil((target - level) / per_us)
    for _ = 1, 16 do
        if level + us * per_us >= target then
            break
        end
        us = us + 1
    end
    for _ = 1, 16 do
        if us <= 0 or level + (us - 1) * per_us < target then
            break
        end
        us = us - 1
    end
    return us
end

local out, n, p = { now }, 1, 1
local calls = ARGV[#ARGV]
local length = #calls
local keys, terms, levels = {}, {}, {}
while p < length do
    local high, low = byte(calls, p, p + 1)
    local draws = high * 256 + low
    p = p + 2
    local broken, denied_by, denied_wait, shadow_by, shadow_wait = nil, nil, -1, nil, -1
    for d = 1, draws do
        local key_high, key_low, term_high, term_low = byte(calls, p, p + 3)
        local k, t = key_high * 256 + key_low, term_high * 256 + term_low
        p = p + 4
        keys[d], terms[d] = k, t
        if unusable[k] then
            broken = broken or d
        else
            local level = capacity[t]
            if tokens[k] then
                if corrupt[k] or since[k] - now > two_periods[t] then
                    corrupt[k], since[k], changed[k] = nil, now, t
                end
                local elapsed = now - since[k]
                if elapsed > 0 then
                    level = tokens[k] + elapsed * rate[t]
                else
                    level = tokens[k]
                end
                if level > capacity[t] then
                    level = capacity[t]
                end
            end
            levels[d] = level
            if level < cost[t] - EPSILON then
                local wait = math.huge
                if cost[t] <= capacity[t] then
                    wait = since[k] + us_until(tokens[k], cost[t] - EPSILON, rate[t]) - now
                    wait = wait > 0 and wait or 0
                end
                if enforced[t] then
                    if wait > denied_wait then
                        denied_by, denied_wait = d, wait
                    end
                elseif wait > shadow_wait then
                    shadow_by, shadow_wait = d, wait
                end
            end
        end
    end
    if broken then
        out[n + 1], out[n + 2] = -4, broken
        n = n + 2
    elseif denied_by then
        out[n + 1], out[n + 2], out[n + 3] = -2, denied_by, denied_wait < math.huge and denied_wait or -1
        n = n + 3
    else
        local remaining = math.huge
        for d = 1, draws do
            local k, t = keys[d], terms[d]
            local counted = enforced[t]
            if counted or not shadow_by then
                local left = levels[d] - cost[t]
                levels[d] = left > 0 and left or 0
                tokens[k], changed[k] = levels[d], t
                if not since[k] or since[k] < now then
                    since[k] = now
                end
            end
            if counted and levels[d] < remaining then
                remaining = levels[d]
            end
        end
        remaining = remaining < math.huge and floor(remaining + EPSILON) or -1
        if shadow_by then
            out[n + 1], out[n + 2], out[n + 3], out[n + 4] = -3, remaining, shadow_by, shadow_wait < math.huge and shadow_wait or -1
            n = n + 4
        else
            out[n + 1] = remaining
            n = n + 1
        end
    end
end

-- EXPIRE is sent only when less than one period would be left: every write is followed by at least one period of life, and that is
-- how long an empty bucket takes to be full.
for k, t in pairs(changed) do
    if expires[k] and expires[k] >= now + two_periods[t] / 2 then
        redis.call('HSET', KEYS[k], 'tokens', tokens[k], 'last_refill', since[k])
    else
        redis.call('HSET', KEYS[k], 'tokens', tokens[k], 'last_refill', since[k], 'expires', now + two_periods[t])
        redis.call('EXPIRE', KEYS[k], ttl[t])
    end
end
return out
