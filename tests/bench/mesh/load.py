"""The load: wrk (C) for requests and new connections, one socket for a long stream.

All of it costs far less than what it measures: wrk against the application alone is a row of the
table, so that a bottleneck in the load would be seen.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

STREAM_MB = 512
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}

#: Every request another path and id: no table of bytes seen before helps.
VARIED = """
local n = 0
request = function()
  n = n + 1
  wrk.headers["X-Request-Id"] = string.format("%08x-0000-4000-8000-%012x", n, n * 7919)
  return wrk.format("GET", string.format("/api/v1/items/%d?page=%d", n % 100000, n % 7))
end
"""

NGINX = """
user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "twelve bytes"; }}
    location /big {{ alias {folder}/big; }}
  }}
}}
"""


def nginx(folder: Path, port: int) -> list[str]:
    """The application: how to start it."""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    (folder / "varied.lua").write_text(VARIED)
    with (folder / "big").open("wb") as big:
        big.truncate(STREAM_MB << 20)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


@dataclass(frozen=True, slots=True)
class Rate:
    """Answers a second and latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def wrk(
    folder: Path, port: int, *, clients: int, seconds: float, varied: bool = False,
    close: bool = False,
) -> Rate:  # fmt: skip
    """Requests over kept connections, or each over a new one."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--latency"]
    if varied:
        command += ["-s", str(folder / "varied.lua")]
    if close:
        command += ["-H", "Connection: close"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    return read_wrk(done.stdout)


def read_wrk(text: str) -> Rate:
    """What wrk printed."""

    def percentile(which: str) -> float:
        found = re.search(rf"{which}%\s+([0-9.]+)(us|ms|s|m)\b", text)
        return float(found[1]) * _UNITS[found[2]] if found else 0.0

    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    # wrk also counts the ends of connections that were asked to close as errors of reading.
    broken = re.search(r"connect (\d+), read \d+, write (\d+), timeout (\d+)", text)
    errors = int(bad[1]) if bad else 0
    errors += sum(int(each) for each in broken.groups()) if broken else 0
    return Rate(float(rate[1]) if rate else 0.0, percentile("50"), percentile("99"), errors)


def stream(port: int) -> float:
    """MB/s of one long answer."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: db\r\n\r\n")
        if not connection.recv(12).endswith(b" 200"):
            raise ConnectionError("no long answer")
        start, left = time.perf_counter(), STREAM_MB << 20
        while left > 0:
            got = connection.recv_into(buffer)
            if not got:
                raise ConnectionError("the stream was cut short")
            left -= got
        return STREAM_MB / (time.perf_counter() - start)
