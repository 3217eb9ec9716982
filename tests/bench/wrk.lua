-- What wrk does for tests/bench/wrk.py, which writes the request, EXPECTED and SECONDS above this.
--
-- Callers ask for so many seconds and then send no more; what they have asked is still answered, and counts. So a
-- way's processor time is shared among all the queries that it was taken for, and the next way begins on a machine
-- that has nothing left to do.

local ffi = require("ffi")
ffi.cdef([[
typedef struct { long s; long ns; } moment;
int clock_gettime(int clock, moment *now);
]])

local MARK = "@REQID@"
local NEVER_MS = 3600000
-- Nobody asks before all are connected: uvloop accepts one connection per turn of its loop, and under load the last of
-- a hundred would wait for seconds, which says nothing of how long a query takes.
local CONNECT_MS = 500

local clock = ffi.new("moment")
local threads = {}
local pieces -- of the request, between which its number stands
local began, ends

sent = -1 -- wrk looks at a first request that it does not send
right = 0
answered = 0
elapsed = 0

local function now()
  ffi.C.clock_gettime(1, clock)
  return tonumber(clock.s) + tonumber(clock.ns) / 1e9
end

local function cut(whole)
  local found, at = {}, 1
  while true do
    local from, to = whole:find(MARK, at, true)
    table.insert(found, whole:sub(at, (from or 0) - 1))
    if from == nil then
      return found
    end
    at = to + 1
  end
end

-- Numbers are as long as the mark: no length changes. They begin somewhere else in each run, since what was asked a
-- moment ago may be remembered.
now()
local before_first = 1000000 + tonumber(clock.ns) % 8000000

setup = function(thread)
  table.insert(threads, thread)
end

request = function()
  if pieces == nil then
    pieces = cut(wrk.format())
  end
  sent = sent + 1
  if sent == 1 then
    began = now()
    ends = began + SECONDS
  end
  return table.concat(pieces, before_first + sent)
end

delay = function()
  if began == nil then
    return CONNECT_MS
  end
  return now() >= ends and NEVER_MS or 0
end

response = function(status, _, body)
  answered = answered + 1
  if status == 200 and body:find(EXPECTED, 1, true) then
    right = right + 1
  end
  local at = now()
  elapsed = at - began
  if at >= ends and answered == sent then
    io.write("over\n")
    io.flush()
  end
end

done = function(_, latency)
  local thread = threads[1]
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  local told = { thread:get("sent"), thread:get("right"), thread:get("elapsed"), p50, p99 }
  io.write("told " .. table.concat(told, " ") .. "\n")
end
