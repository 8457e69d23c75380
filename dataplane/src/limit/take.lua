-- Takes one request from every limit, or from none when one of them refuses.
--
-- KEYS:   one a limit.
-- ARGV:   six a limit: `bucket`, requests, interval (us, part), depth (us, part)
--                   or `window`, requests, per (us), slot (us), 0, 0.
-- Answer: four numbers a limit: admitted (0 or 1), then what bucket.rs and window.rs read.
--
-- The arithmetic is that of bucket.rs and window.rs. Numbers are integers below 2^53; they are written with %.0f because
-- Lua's own conversion keeps 14 digits. State and expiry are set together, the expiry as an absolute time in
-- milliseconds, not before the state has lost its meaning.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function text(number)
  return string.format('%.0f', number)
end

-- The first whole millisecond after a microsecond.
local function expiry(us)
  return text(math.floor(us / 1000) + 1)
end

local function mark(us, part)
  return text(us) .. ' ' .. text(part)
end

local function later(us, part, than_us, than_part)
  return us > than_us or (us == than_us and part > than_part)
end

local function look_bucket(key, requests, interval_us, interval_part, depth_us, depth_part)
  local us, part = now, 0
  local held = redis.call('GET', key)
  if held then
    local held_us, held_part = string.match(held, '^(%d+) (%d+)$')
    if held_us then
      us, part = tonumber(held_us), tonumber(held_part)
    end
  end
  if part >= requests then
    us, part = us + 1, 0
  end
  local full_us = now + depth_us
  if later(us, part, full_us, depth_part) then
    us, part = full_us, depth_part
    redis.call('SET', key, mark(us, part), 'PXAT', expiry(us))
  end
  if us < now then
    us, part = now, 0
  end

  local next_us, next_part = us + interval_us, part + interval_part
  if next_part >= requests then
    next_us, next_part = next_us + 1, next_part - requests
  end
  return {
    admitted = not later(next_us, next_part, full_us, depth_part),
    numbers = { us - now, part, 0 },
    take = function()
      redis.call('SET', key, mark(next_us, next_part), 'PXAT', expiry(next_us))
      return { next_us - now, next_part, 0 }
    end,
  }
end

-- A list: the sum, then slots from the newest to the oldest, each its end and its count.
local function look_window(key, requests, per, slot)
  local slot_end = now - math.fmod(now, slot) + slot
  local head = redis.call('LRANGE', key, 0, 2)
  local used, newest, count = tonumber(head[1] or 0), tonumber(head[2]), tonumber(head[3])

  if newest and newest > slot_end + per then
    used, newest = math.min(used, requests), slot_end
    count = used
    redis.call('DEL', key)
    redis.call('RPUSH', key, text(used), text(newest), text(count))
    redis.call('PEXPIREAT', key, expiry(newest + per))
  end
  -- What is too old is found first and dropped after the sum is written: when Redis is out of memory that write fails,
  -- and nothing has changed.
  local oldest, dropped = newest, 0
  while newest do
    local tail = redis.call('LRANGE', key, -2 - dropped, -1 - dropped)
    oldest = tonumber(tail[1])
    if oldest - 1 + per > now then
      break
    end
    used, dropped = used - tonumber(tail[2]), dropped + 2
    if oldest == newest then
      redis.call('DEL', key)
      used, newest, oldest, dropped = 0, nil, nil, 0
    end
  end
  if dropped > 0 then
    redis.call('LSET', key, 0, text(used))
    redis.call('LTRIM', key, 0, -1 - dropped)
  end

  local function left(ending)
    return ending and ending - 1 + per - now or 0
  end
  return {
    admitted = used < requests,
    numbers = { used, left(oldest), left(newest) },
    take = function()
      used = used + 1
      if newest and newest >= slot_end then
        redis.call('LSET', key, 2, text(count + 1))
        redis.call('LSET', key, 0, text(used))
      else
        if newest then
          redis.call('LSET', key, 0, '1')
          redis.call('LPUSH', key, text(slot_end), text(used))
        else
          redis.call('RPUSH', key, text(used), text(slot_end), '1')
        end
        newest = slot_end
      end
      redis.call('PEXPIREAT', key, expiry(newest + per))
      return { used, left(oldest or newest), left(newest) }
    end,
  }
end

local looked, all = {}, true
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 6
  local numbers = {}
  for n = 1, 5 do
    numbers[n] = tonumber(ARGV[at + 1 + n])
  end
  local look = ARGV[at + 1] == 'bucket' and look_bucket or look_window
  looked[i] = look(key, unpack(numbers))
  all = all and looked[i].admitted
end

local answer = {}
for _, limit in ipairs(looked) do
  local numbers = limit.numbers
  if all then
    numbers = limit.take()
  end
  answer[#answer + 1] = limit.admitted and 1 or 0
  for n = 1, 3 do
    answer[#answer + 1] = numbers[n]
  end
end
return answer
