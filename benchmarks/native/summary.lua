-- The end of a wrk run as one line of JSON.
function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "bytes": %d, "error_connect": %d, "error_read": %d, "error_write": %d, "error_status": %d, "error_timeout": %d}',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
