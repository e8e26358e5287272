-- Decides a batch of calls, in order of arrival, as limiter::settle does one by one.
--
-- KEYS  the buckets, each once
-- ARGV  1 .. 4    the first term: capacity, tokens per microsecond, two refill periods in microseconds, cost (negative: in shadow);
--                 and so on, four for each
--       the last  the calls: for each, how many buckets it draws on, and for each of those which key and which term, all counted
--                 from 1 and as two bytes, the high one first
-- Returns the time, then for each call
--       remaining                  allowed; -1 when no bucket was enforced
--       -2, by, wait               denied by its by-th bucket; the wait in microseconds, -1 for never
--       -3, remaining, by, wait    allowed, and the by-th bucket, in shadow, would have denied
--       -4, by                     not decided, nothing taken: the key of its by-th bucket does not hold a bucket
-- Nothing is written for a denied call, unless an impossible state has to be repaired.
--
-- Redis is blocked while this runs, so it is written for speed: tables are created with their final size where that is known, numbers are
-- converted from and to text as rarely as possible (each conversion costs as much as 20 steps of Lua), and the calls come as bytes.

local EPSILON = 1e-9
local tonumber, floor, huge = tonumber, math.floor, math.huge

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The terms, as numbers. A term is known by the index of its first.
local terms, size = ARGV, #ARGV
local RATE, TWO_PERIODS, COST = 1, 2, 3
for i = 1, size - 1 do
    terms[i] = tonumber(terms[i])
end

-- A bucket is the response to HMGET, with its text converted to numbers. Without tokens it is full. One with invalid fields was refilled at
-- the end of time, which is repaired below: it holds what can be read of its tokens as of now, and is stored so. False if it is not a
-- bucket.
local TOKENS, SINCE, EXPIRES = 1, 2, 3
local buckets = { false, false, false, false }
for k = 1, #KEYS do
    local bucket = redis.pcall('HMGET', KEYS[k], 'tokens', 'last_refill', 'expires')
    if bucket[TOKENS] then
        local level, refilled = tonumber(bucket[TOKENS]), tonumber(bucket[SINCE])
        local is_sound = level and refilled and level == level and refilled == refilled
        bucket[TOKENS] = level and level > 0 and level or 0
        bucket[SINCE] = is_sound and (refilled > 0 and floor(refilled) or 0) or huge
    elseif not bucket.err then
        bucket[SINCE] = 0
    elseif string.find(bucket.err, 'WRONGTYPE', 1, true) then
        bucket = false
    else
        return bucket
    end
    buckets[k] = bucket
end

-- The shortest time in which a level reaches a target. The quotient is within a few microseconds of it.
local function us_until(level, target, per_us)
    local us = math.ceil((target - level) / per_us)
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

local calls, byte = ARGV[size], string.byte
local out, n, p = { now, 0 }, 1, 1
-- Of each bucket that changed, the term.
local changed = { false, false, false, false }
-- For one call, by draw; most calls have at most four.
local keys, asked, levels = { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, { 0, 0, 0, 0 }
while p < #calls do
    local high, low = byte(calls, p, p + 1)
    local draws = high * 256 + low
    p = p + 2
    local broken, denied_by, denied_wait, shadow_by, shadow_wait = nil, nil, -1, nil, -1
    for d = 1, draws do
        local key_high, key_low, term_high, term_low = byte(calls, p, p + 3)
        local k, term = key_high * 256 + key_low, term_high * 1024 + term_low * 4 - 3
        local bucket = buckets[k]
        p = p + 4
        keys[d], asked[d] = k, term
        if bucket then
            local level, capacity, cost = bucket[TOKENS], terms[term], terms[term + COST]
            if level then
                local elapsed = now - bucket[SINCE]
                if elapsed > 0 then
                    level = level + elapsed * terms[term + RATE]
                elseif -elapsed > terms[term + TWO_PERIODS] then
                    bucket[SINCE], changed[k] = now, term
                end
                if level > capacity then
                    level = capacity
                end
            else
                level = capacity
            end
            levels[d] = level
            local enforced = cost > 0
            cost = enforced and cost or -cost
            local target = cost - EPSILON
            if level < target then
                local wait = huge
                if cost <= capacity then
                    wait = bucket[SINCE] + us_until(bucket[TOKENS], target, terms[term + RATE]) - now
                    wait = wait > 0 and wait or 0
                end
                if enforced then
                    if wait > denied_wait then
                        denied_by, denied_wait = d, wait
                    end
                elseif wait > shadow_wait then
                    shadow_by, shadow_wait = d, wait
                end
            end
        else
            broken = broken or d
        end
    end
    if broken then
        out[n + 1], out[n + 2] = -4, broken
        n = n + 2
    elseif denied_by then
        out[n + 1], out[n + 2], out[n + 3] = -2, denied_by, denied_wait < huge and denied_wait or -1
        n = n + 3
    else
        local remaining = huge
        for d = 1, draws do
            local term, level = asked[d], levels[d]
            local cost = terms[term + COST]
            local enforced = cost > 0
            if enforced or not shadow_by then
                level = level - (enforced and cost or -cost)
                if level < 0 then
                    level = 0
                end
                local k = keys[d]
                local bucket = buckets[k]
                bucket[TOKENS], changed[k] = level, term
                if bucket[SINCE] < now then
                    bucket[SINCE] = now
                end
            end
            if enforced and level < remaining then
                remaining = level
            end
        end
        -- Redis truncates returned numbers to integers.
        remaining = remaining < huge and remaining + EPSILON or -1
        if shadow_by then
            out[n + 1], out[n + 2], out[n + 3], out[n + 4] = -3, remaining, shadow_by, shadow_wait < huge and shadow_wait or -1
            n = n + 4
        else
            out[n + 1] = remaining
            n = n + 1
        end
    end
end

-- EXPIRE is sent only if less than one period would be left: every write is followed by a lifetime of at least one period, which is how
-- long an empty bucket takes to be full.
local now_text = #KEYS > 1 and string.format('%.0f', now) or now
for k = 1, #KEYS do
    local term = changed[k]
    if term then
        local key, bucket, two_periods = KEYS[k], buckets[k], terms[term + TWO_PERIODS]
        local since = bucket[SINCE] == now and now_text or bucket[SINCE]
        if (tonumber(bucket[EXPIRES]) or 0) >= now + two_periods / 2 then
            redis.call('HSET', key, 'tokens', bucket[TOKENS], 'last_refill', since)
        else
            redis.call('HSET', key, 'tokens', bucket[TOKENS], 'last_refill', since, 'expires', now + two_periods)
            redis.call('EXPIRE', key, math.ceil(two_periods / 1000000))
        end
    end
end
return out
