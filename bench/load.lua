-- The request as it is, or so many of it at once: wrk ... -- DEPTH
-- wrk calls this once and repeats the request, so that Lua costs nothing under load.
function init(args)
   local depth = tonumber(args[1])
   local plain = wrk.format
   wrk.format = function(...) return string.rep(plain(...), depth) end
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "duration_us": %d, "errors": %d}\n',
      summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
