-- Grants leases: to one dataplane, a request and perhaps more from every limit of a decision, or nothing when one of
-- them has no room.
--
-- KEYS:   the epoch, then one a limit.
-- ARGV:   holder, the epoch it knows (0: none), the number of this ask (each holder's grow), how long a lease for what is
--         to come lasts (us); then fifteen a limit:
--         `bucket`, requests, interval (us, part), depth (us, part) or `window`, requests, per (us), slot (us), 0, 0;
--         what the holder has left, what it spent since its last answer, and when: `AGE:N `, in us, the oldest first;
--         how many wait (0: it only gives back), how many are to come; of these at most so many, and at most so many
--         while little is left; how long a lease for what waits lasts (us); 1 when a count that was lost begins used up.
-- Answer: the epoch, then eight a limit: has room (0, 1), granted, 1 when what was left still counts, how long it lasts
--         (us), in what time another holder's lease ends, and with it may come back what was not spent (us; 0: there is
--         none), and three numbers that bucket.rs and window.rs read: they count all that is granted as spent now.
--
-- What is granted is outstanding until its holder tells that it was spent, or its time ends. Only then does it enter
-- the bucket or window, at the latest time at which it can have been spent; room is what both together leave. Why no
-- stretch of time so admits more than the limit: docs/decisions/0010-leases.md.
--
-- The arithmetic is that of bucket.rs and window.rs. Numbers are integers below 2^53; they are written with %.0f because
-- Lua's own conversion keeps 14 digits. A count is one string, `leases;count`: one write changes it, with its expiry in
-- absolute milliseconds, or nothing does.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local holder, known, seq = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lease_us = tonumber(ARGV[4])
local HEAD, EACH = 4, 15

local function text(number)
  return string.format('%.0f', number)
end

local function later(us, part, than_us, than_part)
  return us > than_us or (us == than_us and part > than_part)
end

-- When this Redis began to count, and whether another life of it went before.
local epoch, lost = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d)$')
if not epoch or (lost == '0' and known ~= '0' and known ~= epoch) then
  epoch, lost = epoch or text(now), known == '0' and '0' or '1'
  redis.call('SET', KEYS[1], epoch .. ' ' .. lost, 'PX', '315360000000')
end

local function bucket(held, requests, interval_us, interval_part, depth_us, depth_part)
  local us, part = string.match(held, '^(%d+) (%d+)$')
  us, part = tonumber(us or 0), tonumber(part or 0)
  if part >= requests then
    us, part = us + 1, 0
  end
  if later(us, part, now + depth_us, depth_part) then
    us, part = now + depth_us, depth_part
  end

  local function plus(a_us, a_part, b_us, b_part)
    if a_part + b_part >= requests then
      return a_us + b_us + 1, a_part + b_part - requests
    end
    return a_us + b_us, a_part + b_part
  end

  -- n intervals, by doubling: a product could pass 2^53.
  local function times(n)
    local sum_us, sum_part, one_us, one_part = 0, 0, interval_us, interval_part
    while n > 0 do
      if n % 2 == 1 then
        sum_us, sum_part = plus(sum_us, sum_part, one_us, one_part)
      end
      n = math.floor(n / 2)
      one_us, one_part = plus(one_us, one_part, one_us, one_part)
    end
    return sum_us, sum_part
  end

  local function debt(n)
    local more_us, more_part = times(n)
    if us < now then
      return more_us, more_part
    end
    return plus(us - now, part, more_us, more_part)
  end

  local count = {}
  function count.retire(n, at)
    if us < at then
      us, part = at, 0
    end
    us, part = plus(us, part, times(n))
  end
  function count.use_up(at)
    us, part = at + depth_us, depth_part
  end
  function count.forget()
  end
  -- How many of `wanted` there is room for beside `out`, exactly, and of any number, nearly.
  function count.room(out, wanted)
    local function fits(n)
      local debt_us, debt_part = debt(out + n)
      return not later(debt_us, debt_part, depth_us, depth_part)
    end
    local debt_us, debt_part = debt(0)
    local free = depth_us - debt_us + (depth_part - debt_part) / requests
    local about = math.max(math.floor(free / (interval_us + interval_part / requests)) - out, 0)
    local n = math.min(wanted, about + 1)
    while n > 0 and not fits(n) do
      n = n - 1
    end
    return n, about
  end
  function count.numbers(out)
    local debt_us, debt_part = debt(out)
    return { debt_us, debt_part, 0 }
  end
  function count.write(out, last)
    local end_us = math.max(us, last or 0) + times(out) + 1
    return text(us) .. ' ' .. text(part), end_us
  end
  return count
end

-- `used newest count;` and older slots as `end:count `, the oldest first.
local function window(held, requests, per, slot)
  local used, newest, newest_count, older = string.match(held, '^(%d+) (%d+) (%d+);(.*)$')
  used, newest, newest_count = tonumber(used or 0), tonumber(newest), tonumber(newest_count)
  older = older or ''
  local function ending(at)
    return at - math.fmod(at, slot) + slot
  end
  if newest and newest > ending(now) + per then
    used, newest, older = math.min(used, requests), ending(now), ''
    newest_count = used
  end
  local from = 1
  local function oldest()
    local slot_end, slot_count, after = string.match(older, '^(%d+):(%d+) ()', from)
    return tonumber(slot_end), tonumber(slot_count), after
  end

  local count = {}
  -- Puts it among the older ones, at whose end it mostly belongs: holders tell of the same time one after the other.
  local function insert(slot_end, n)
    local ends, counts = {}, {}
    for one, held_count in string.gmatch(string.sub(older, from), '(%d+):(%d+) ') do
      ends[#ends + 1], counts[#counts + 1] = tonumber(one), tonumber(held_count)
    end
    local i = #ends
    while i > 0 and ends[i] > slot_end do
      i = i - 1
    end
    if i > 0 and ends[i] == slot_end then
      counts[i] = counts[i] + n
    else
      table.insert(ends, i + 1, slot_end)
      table.insert(counts, i + 1, n)
    end
    local written = {}
    for k = 1, #ends do
      written[k] = text(ends[k]) .. ':' .. text(counts[k]) .. ' '
    end
    older, from = table.concat(written), 1
  end
  function count.retire(n, at)
    local slot_end = ending(at)
    if newest == slot_end then
      newest_count = newest_count + n
    elseif newest and newest > slot_end then
      insert(slot_end, n)
    else
      if newest then
        older = older .. text(newest) .. ':' .. text(newest_count) .. ' '
      end
      newest, newest_count = slot_end, n
    end
    used = used + n
  end
  function count.use_up(at)
    count.retire(requests, at)
  end
  function count.forget()
    local slot_end, slot_count, after = oldest()
    while slot_end and slot_end - 1 + per <= now do
      used, from = used - slot_count, after
      slot_end, slot_count, after = oldest()
    end
    if not slot_end and newest and newest - 1 + per <= now then
      used, newest, newest_count = 0, nil, nil
    end
  end
  function count.room(out, wanted)
    local free = math.max(requests - used - out, 0)
    return math.min(wanted, free), free
  end
  function count.numbers(out, first, last)
    local function left(slot_end)
      return slot_end and slot_end - 1 + per - now or 0
    end
    local outstanding = last and ending(last)
    local final = math.max(newest or 0, outstanding or 0)
    return { used + out, left(oldest() or newest or (first and ending(first))), final > 0 and left(final) or 0 }
  end
  function count.write(_, last)
    local end_us = math.max(newest or 0, last and ending(last) or 0) + per
    if not newest then
      return '', end_us
    end
    return text(used) .. ' ' .. text(newest) .. ' ' .. text(newest_count) .. ';' .. string.sub(older, from), end_us
  end
  return count
end

local function look(key, at)
  local numbers = {}
  for n = 1, EACH - 1 do
    numbers[n] = tonumber(ARGV[at + 1 + n]) or 0
  end
  local ages = ARGV[at + 9]
  local left, spent, _, wanted, ahead, most, least, call_us, strict = unpack(numbers, 6)
  local held = redis.call('GET', key)
  local leases, rest = string.match(held or '', '^([^;]*);(.*)$')
  local count = (ARGV[at + 1] == 'bucket' and bucket or window)(rest or '', unpack(numbers, 1, 5))
  if not held and strict == 1 and lost == '1' then
    count.use_up(tonumber(epoch) + lease_us)
  end

  local sorted = {}
  for id, number, n, ends in string.gmatch(leases or '', '(%x+):(%d+):(%d+):(%d+)') do
    -- Later than any lease ends: the clock was set back.
    ends = math.min(tonumber(ends), now + lease_us)
    sorted[#sorted + 1] = { id = id, seq = tonumber(number), n = tonumber(n), ends = ends }
  end
  table.sort(sorted, function(a, b) return a.ends < b.ends end)
  local live, out, own, stale = {}, 0, nil, false
  for _, lease in ipairs(sorted) do
    if lease.ends <= now then
      count.retire(lease.n, lease.ends)
    else
      live[#live + 1] = lease
      if lease.id == holder then
        own = lease
      end
    end
  end
  local kept = 0
  if own and own.seq > seq then
    -- Its holder gave this ask up long ago, and asked again since.
    stale = true
  elseif own then
    kept = math.min(left, own.n)
    local gone = math.min(own.n - kept, spent)
    local told = {}
    for age, n in string.gmatch(ages, '(%d+):(%d+)') do
      told[#told + 1] = { age = tonumber(age), n = tonumber(n) }
    end
    -- The youngest first: what else is gone was told before, and is over.
    for i = #told, 1, -1 do
      told[i].n = math.min(told[i].n, gone)
      gone = gone - told[i].n
    end
    for _, group in ipairs(told) do
      if group.n > 0 then
        -- Both clocks cut off what is less than a microsecond.
        count.retire(group.n, now - group.age + 2)
      end
    end
    if gone > 0 then
      count.retire(gone, now + 2)
    end
    own.n, own.seq = kept, seq
  end
  count.forget()
  for _, lease in ipairs(live) do
    out = out + lease.n
  end
  local room, free = count.room(out, wanted + ahead)
  local limit = { admits = (room > 0 or wanted == 0) and not stale }

  -- Gives up to what is asked for, and writes the count.
  function limit.close(granting)
    local granted, lasts = 0, 0
    if granting then
      local needed = math.min(wanted, room)
      local early = math.min(ahead, most, math.max(least, math.floor(free / 128)), room - needed)
      granted, lasts = needed + early, (early > 0 or kept > 0) and lease_us or call_us
      if not own then
        own = { id = holder, seq = seq, n = 0, ends = 0 }
        live[#live + 1] = own
      end
      own.ends = math.max(kept > 0 and own.ends or 0, now + lasts)
      own.n, out = own.n + granted, out + granted
    end
    local written, first, last, others = {}, nil, nil, nil
    for _, lease in ipairs(live) do
      if lease.n > 0 then
        first, last = math.min(first or lease.ends, lease.ends), math.max(last or 0, lease.ends)
        if lease ~= own then
          others = math.min(others or lease.ends, lease.ends)
        end
        written[#written + 1] =
          lease.id .. ':' .. text(lease.seq) .. ':' .. text(lease.n) .. ':' .. text(lease.ends)
      end
    end
    local state, end_us = count.write(out, last)
    if end_us > now then
      redis.call('SET', key, table.concat(written, ' ') .. ';' .. state, 'PXAT', text(math.floor(end_us / 1000) + 1))
    elseif held then
      redis.call('DEL', key)
    end
    return granted, kept, lasts, others and others - now or 0, count.numbers(out, first, last)
  end
  return limit
end

local limits, all = {}, true
for i = 2, #KEYS do
  local limit = look(KEYS[i], HEAD + (i - 2) * EACH)
  limits[#limits + 1] = limit
  all = all and limit.admits
end

local answer = { tonumber(epoch) }
for _, limit in ipairs(limits) do
  local granted, kept, lasts, others, numbers = limit.close(all)
  answer[#answer + 1] = limit.admits and 1 or 0
  answer[#answer + 1] = granted
  answer[#answer + 1] = kept > 0 and 1 or 0
  answer[#answer + 1] = lasts
  answer[#answer + 1] = others
  for n = 1, 3 do
    answer[#answer + 1] = numbers[n]
  end
end
return answer
