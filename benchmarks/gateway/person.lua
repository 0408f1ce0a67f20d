-- A request of anybody among the people in the file that TOKENS names, with the headers in HEADERS ("Name: value",
-- one a line). How often each status was answered is told with what wrk measured, as one line of JSON.
local tokens, headers, threads = {}, {}, {}

for token in io.lines(os.getenv("TOKENS")) do
   tokens[#tokens + 1] = token
end
for name, value in (os.getenv("HEADERS") or ""):gmatch("([^:\n]+): ([^\n]*)") do
   headers[name] = value
end

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("number", #threads)
end

local requests = {}

function init(args)
   math.randomseed(os.time() * 100 + number)
   changes = tonumber(os.getenv("CHANGES") or "0")
   others = 0
   for place, token in ipairs(tokens) do
      headers["Authorization"] = "Bearer " .. token
      requests[place] = wrk.format("GET", nil, headers)
   end
end

function request()
   local place = math.random(#tokens)
   if changes > 0 and math.random() < changes then
      headers["Authorization"] = "Bearer " .. tokens[place]
      headers["Content-Type"] = "application/json"
      local changed = wrk.format("PATCH", nil, headers, string.format('{"name": "Person %d"}', math.random(1e9)))
      headers["Content-Type"] = nil
      return changed
   end
   return requests[place]
end

function response(status)
   if status ~= 200 then
      others = others + 1
   end
end

function done(summary, latency, all)
   local errors, other = summary.errors, 0
   for _, thread in ipairs(threads) do
      other = other + thread:get("others")
   end
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "others": %d, "failures": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), other,
      errors.connect + errors.read + errors.write + errors.timeout))
end
