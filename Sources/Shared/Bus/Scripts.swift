// Every Lua script, headed by its KEYS, ARGV and return. Keys of one script share a hash tag. Numbers compared here stay below 2^53: a larger one
// that stands in a key is nobody's, and is written over.
// An error reply's first word says what was wrong: FENCED, NOLEASE, REMOVED.
// A full Redis (`maxmemory`) refuses every script that writes, but for those that begin with `whenFull`: they only replace small values, make
// room, or end something, so that a full Redis costs no lease, no acknowledgement and no kill, and a dashboard that starts meanwhile takes its
// place and reads what fills it.
import Redis

public enum Scripts {
  /// Redis 7.
  private static let whenFull = "#!lua flags=allow-oom\n"

  /// `number(key, below)`: the number under a key, and what stands there as text. What no dashboard can have written counts as nothing and is
  /// written over like it. Bounds: a fence is below 2^21, a send number below 2^53 (`SendNumber`).
  private static let number = """
    local function number(key, below)
      local held = redis.call('GET', key) or '0'
      local n = string.match(held, '^%d+$') and tonumber(held)
      return n and n < below and n or 0, held
    end

    """

  /// Adds attempts to an agent's inbox and rings the bell.
  /// KEYS inbox, tombs, fence, sends, control · ARGV fence, send number, bell, then (id, envelope) pairs
  /// Returns for each pair 1 added, 0 was there, -1 tombstoned. Error FENCED: a newer dashboard was here.
  public static let send = RedisScript(
    name: "send",
    source: number + """
      local fence = number(KEYS[3], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[3], ARGV[1]) end
      if tonumber(ARGV[2]) > number(KEYS[4], 2^53) then redis.call('SET', KEYS[4], ARGV[2]) end
      local done = {}
      for i = 4, #ARGV, 2 do
        if redis.call('ZSCORE', KEYS[2], ARGV[i]) then done[#done + 1] = -1
        else done[#done + 1] = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
      end
      if redis.call('LLEN', KEYS[5]) == 0 then redis.call('RPUSH', KEYS[5], ARGV[3]) end
      return done
      """)

  /// Puts a control message before an agent.
  /// KEYS control, fence, sends · ARGV fence, send number, greatest length of the list, message
  /// Returns 1, or 0 when the list is full (the message is a hint and will be repeated). Error FENCED.
  public static let control = RedisScript(
    name: "control",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[2], ARGV[1]) end
      if tonumber(ARGV[2]) > number(KEYS[3], 2^53) then redis.call('SET', KEYS[3], ARGV[2]) end
      if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
      redis.call('RPUSH', KEYS[1], ARGV[4])
      return 1
      """)

  /// Writes tombstones: these ids are never added to the inbox again. Older ones than 30 days go. The first cause of an id stands; a member
  /// `<id>` is a tombstone, and with `<id>!expired` beside it one of a run that has expired.
  /// KEYS tombs, fence, sends · ARGV fence, send number, seconds kept, then (id, 'cancelled' or 'expired') pairs
  /// Returns the cause that stands now for each pair. Error FENCED.
  public static let tombstone = RedisScript(
    name: "tombstone",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[2], ARGV[1]) end
      if tonumber(ARGV[2]) > number(KEYS[3], 2^53) then redis.call('SET', KEYS[3], ARGV[2]) end
      local now = tonumber(redis.call('TIME')[1])
      redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))
      local causes = {}
      for i = 4, #ARGV, 2 do
        local expired = ARGV[i] .. '!expired'
        local cause = ARGV[i + 1]
        if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
          cause = redis.call('ZSCORE', KEYS[1], expired) and 'expired' or 'cancelled'
        end
        redis.call('ZADD', KEYS[1], now, ARGV[i])
        if cause == 'expired' then redis.call('ZADD', KEYS[1], now, expired) end
        causes[#causes + 1] = cause
      end
      return causes
      """)

  /// Takes attempts out of an agent's inbox, as far as they are there.
  /// KEYS inbox, fence · ARGV fence, then ids
  /// Returns how many were there. Error FENCED.
  public static let withdraw = RedisScript(
    name: "withdraw",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[2], ARGV[1]) end
      local count = 0
      for i = 2, #ARGV do count = count + redis.call('HDEL', KEYS[1], ARGV[i]) end
      return count
      """)

  /// Raises the fence and tells the highest send number that Redis knows of this agent.
  /// KEYS fence, sends · ARGV fence
  /// Returns the number as text. Error FENCED.
  public static let compare = RedisScript(
    name: "compare",
    source: whenFull + number + """
      local fence = number(KEYS[1], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[1], ARGV[1]) end
      return redis.call('GET', KEYS[2]) or '0'
      """)

  /// Takes back a fence that no dashboard has written. One that was written since stays.
  /// KEYS fence · ARGV the fence that stood there, the dashboard's own
  /// Returns 1, or 0 where another one stands there by now.
  public static let lowerFence = RedisScript(
    name: "lowerFence",
    source: whenFull + number + """
      if number(KEYS[1], 2^21) ~= tonumber(ARGV[1]) then return 0 end
      redis.call('SET', KEYS[1], ARGV[2])
      return 1
      """)

  /// Says what is committed. Of one incarnation the numbers only grow: the collectors say it independently, in any order.
  /// KEYS acked, fence · ARGV fence, incarnation, reports, output
  /// Returns 1. Error FENCED.
  public static let acknowledge = RedisScript(
    name: "acknowledge",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      local reports, output = ARGV[3], ARGV[4]
      local from, r, o = string.match(redis.call('GET', KEYS[1]) or '', '^([^:]+):(%d+):(%d+)$')
      if from == ARGV[2] then
        if tonumber(r) > tonumber(reports) and tonumber(r) < 2^53 then reports = r end
        if tonumber(o) > tonumber(output) and tonumber(o) < 2^53 then output = o end
      end
      redis.call('SET', KEYS[1], ARGV[2] .. ':' .. reports .. ':' .. output)
      return 1
      """)

  /// Takes or takes over the agent's lease: the same journal at once, another one never.
  /// KEYS lease, journal, fenced · ARGV journal id, lease value, milliseconds, the position that the agent has checked ('' for none)
  /// Returns {'ok', previous lease}, {'held', lease} or {'position', position to check first}. Error REMOVED: the journal is fenced.
  public static let takeLease = RedisScript(
    name: "takeLease",
    source: whenFull + """
      if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then return redis.error_reply('REMOVED this journal was removed') end
      local held = redis.call('GET', KEYS[1]) or ''
      if held ~= '' and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return {'held', held} end
      local position = redis.call('GET', KEYS[2]) or ''
      if position ~= ARGV[4] then return {'position', position} end
      redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
      return {'ok', held}
      """)

  /// Renews the lease while it is the agent's own.
  /// KEYS lease · ARGV address, lease value, milliseconds
  /// Returns 1, or 0 when it ran out or another holds it: take it again or stop starting.
  public static let renewLease = RedisScript(
    name: "renewLease",
    source: whenFull + """
      local held = redis.call('GET', KEYS[1]) or ''
      if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 0 end
      redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
      return 1
      """)

  /// Gives the lease back on an orderly stop.
  /// KEYS lease · ARGV address
  /// Returns 1, or 0 when it was not the agent's.
  public static let dropLease = RedisScript(
    name: "dropLease",
    source: """
      local held = redis.call('GET', KEYS[1]) or ''
      if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 0 end
      return redis.call('DEL', KEYS[1])
      """)

  /// The agent has journaled these ids: they leave the inbox, and the journal's last synced record is kept, never moved back.
  /// KEYS lease, fenced, inbox, journal · ARGV address, journal id, count, nonce, then ids
  /// Returns 1. Error NOLEASE: the lease is not this incarnation's. Error REMOVED.
  public static let confirm = RedisScript(
    name: "confirm",
    source: whenFull + """
      local held = redis.call('GET', KEYS[1]) or ''
      if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return redis.error_reply('NOLEASE ' .. held) end
      if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 1 then return redis.error_reply('REMOVED this journal was removed') end
      for i = 5, #ARGV do redis.call('HDEL', KEYS[3], ARGV[i]) end
      local id, count = string.match(redis.call('GET', KEYS[4]) or '', '^([^:]+):(%d+):')
      if not (id == ARGV[2] and tonumber(count) > tonumber(ARGV[3]) and tonumber(count) < 2^53) then
        redis.call('SET', KEYS[4], ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4])
      end
      return 1
      """)

  /// Moves fields of the plain hash into the inbox, as many as there are fresh ids. A hash that carries `muster` is a result.
  /// KEYS plain hash, inbox, lease · ARGV address, greatest length of the inbox, then fresh ids
  /// Returns the number moved; -1 when the key is not a hash of commands. Error NOLEASE.
  public static let movePlain = RedisScript(
    name: "movePlain",
    source: """
      local kind = redis.call('TYPE', KEYS[1]).ok
      if kind == 'none' then return 0 end
      if kind ~= 'hash' or redis.call('HEXISTS', KEYS[1], 'muster') == 1 then return -1 end
      local held = redis.call('GET', KEYS[3]) or ''
      if string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return redis.error_reply('NOLEASE ' .. held) end
      if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
      local cursor, moved, next = '0', 0, 3
      repeat
        local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 64)
        cursor = page[1]
        for i = 1, #page[2], 2 do
          if next > #ARGV then return moved end
          local name, command = page[2][i], page[2][i + 1]
          redis.call('HSET', KEYS[2], ARGV[next], 'M1P0' .. string.format('%08x', #name) .. name .. command)
          redis.call('HDEL', KEYS[1], name)
          next = next + 1
          moved = moved + 1
        end
      until cursor == '0' or moved > 0
      return moved
      """)

  /// Says that an agent is there, by Redis's clock.
  /// KEYS agents · ARGV uuid
  /// Returns Redis's clock, milliseconds since 1970, as text.
  public static let presence = RedisScript(
    name: "presence",
    source: """
      local now = redis.call('TIME')
      local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
      redis.call('ZADD', KEYS[1], milliseconds, ARGV[1])
      return string.format('%.0f', milliseconds)
      """)

  /// `presence` for a Redis that is full.
  public static let presenceWhenFull = RedisScript(name: "presenceWhenFull", source: whenFull + presence.source)

  /// Writes a result hash unless the key is somebody else's, or an alias of a newer run.
  /// KEYS result · ARGV seconds kept, task id, then field, value pairs
  /// Returns 1 written, 0 left alone.
  public static let result = RedisScript(
    name: "result",
    source: """
      local kind = redis.call('TYPE', KEYS[1]).ok
      if kind ~= 'none' then
        if kind ~= 'hash' or redis.call('HEXISTS', KEYS[1], 'muster') == 0 then return 0 end
        local task = redis.call('HGET', KEYS[1], 'task')
        if task and task > ARGV[2] then return 0 end
        if task ~= ARGV[2] then redis.call('DEL', KEYS[1]) end
      end
      redis.call('HSET', KEYS[1], 'muster', '1', 'task', ARGV[2], unpack(ARGV, 3))
      redis.call('EXPIRE', KEYS[1], ARGV[1])
      return 1
      """)

  /// Appends messages to a bounded stream.
  /// KEYS stream · ARGV greatest length, then messages
  /// Returns the stream's length after it, or -1 when it is full and nothing was appended.
  public static let append = RedisScript(
    name: "append",
    source: """
      local length = redis.call('XLEN', KEYS[1])
      if length >= tonumber(ARGV[1]) then return -1 end
      for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[i]) end
      return length + #ARGV - 1
      """)

  /// Fences journals of an agent that was removed: they get no lease and confirm nothing.
  /// KEYS fenced, fence, sends · ARGV fence, send number, then journal ids
  /// Returns the number of ids. Error FENCED.
  public static let fenceJournals = RedisScript(
    name: "fenceJournals",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[2], ARGV[1]) end
      if tonumber(ARGV[2]) > number(KEYS[3], 2^53) then redis.call('SET', KEYS[3], ARGV[2]) end
      for i = 3, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
      return #ARGV - 2
      """)

  /// Removes an agent: fences the journals given, the one that holds the lease and the one that confirmed last, and takes its keys away.
  /// One that lives is told to register again, and is refused then.
  /// KEYS fenced, fence, sends, lease, journal, info, inbox, control, acked · ARGV fence, send number, message for one that lives, then
  /// journal ids
  /// Returns the ids that are fenced now. Error FENCED.
  public static let removeAgent = RedisScript(
    name: "removeAgent",
    source: whenFull + number + """
      local fence = number(KEYS[2], 2^21)
      if tonumber(ARGV[1]) < fence then return redis.error_reply('FENCED ' .. fence) end
      if tonumber(ARGV[1]) > fence then redis.call('SET', KEYS[2], ARGV[1]) end
      if tonumber(ARGV[2]) > number(KEYS[3], 2^53) then redis.call('SET', KEYS[3], ARGV[2]) end
      local held = redis.call('GET', KEYS[4]) or ''
      for i = 4, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
      for _, text in ipairs({held, redis.call('GET', KEYS[5]) or ''}) do
        local id = string.match(text, '^(%x+):')
        if id then redis.call('SADD', KEYS[1], id) end
      end
      redis.call('DEL', KEYS[4], KEYS[6], KEYS[7], KEYS[8], KEYS[9])
      if held ~= '' then
        redis.call('RPUSH', KEYS[8], ARGV[3])
        redis.call('EXPIRE', KEYS[8], 60)
      end
      return redis.call('SMEMBERS', KEYS[1])
      """)

  /// Takes the writing dashboard's place: at once for the same store, never from another one.
  /// KEYS dashboard · ARGV store id, process nonce, fence, milliseconds
  /// Returns {'ok', previous}, or {'held', holder}. The value is `store:nonce:fence`.
  public static let takeDashboard = RedisScript(
    name: "takeDashboard",
    source: whenFull + """
      local held = redis.call('GET', KEYS[1]) or ''
      if held ~= '' and string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return {'held', held} end
      redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2] .. ':' .. ARGV[3], 'PX', ARGV[4])
      return {'ok', held}
      """)

  /// Renews the writing dashboard's place.
  /// KEYS dashboard · ARGV store:nonce:fence, milliseconds
  /// Returns 1; 0 when another holds it; -1 when nobody does (Redis came back empty, or the lease ran out).
  public static let renewDashboard = RedisScript(
    name: "renewDashboard",
    source: """
      local held = redis.call('GET', KEYS[1])
      if not held then return -1 end
      if held ~= ARGV[1] then return 0 end
      redis.call('PEXPIRE', KEYS[1], ARGV[2])
      return 1
      """)

  /// Gives the place back on an orderly stop.
  /// KEYS dashboard · ARGV store:nonce:fence
  public static let dropDashboard = RedisScript(
    name: "dropDashboard",
    source: """
      if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
      return 0
      """)

  /// Raises the fence of all to a number. Writes in any case: the dashboard learns by it whether Redis takes writes.
  /// KEYS fence · ARGV number
  /// Returns the fence before it as text; the call took effect only where that is smaller.
  public static let raiseFence = RedisScript(
    name: "raiseFence",
    source: number + """
      local fence, held = number(KEYS[1], 2^21)
      redis.call('SET', KEYS[1], fence < tonumber(ARGV[1]) and ARGV[1] or held)
      return held
      """)

  /// `raiseFence` for a Redis that is full: by this one a dashboard learns nothing of that.
  public static let raiseFenceWhenFull = RedisScript(name: "raiseFenceWhenFull", source: whenFull + raiseFence.source)
}
