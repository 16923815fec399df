"""A small stand-in for an agent: one store behind all nodes, honest or broken on purpose.

Started as ``python toy_agent.py [BUG] agent -config-file FILE``. All nodes share one file, so
there is nothing to replicate; what the tester must see is what clients see.
"""

from __future__ import annotations

import base64
import fcntl
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

BUG = sys.argv[1] if sys.argv[1] != "agent" else ""
CONFIG = json.loads(Path(sys.argv[-1]).read_text())
STORE = Path(CONFIG["data_dir"]).parents[1] / "store.json"
#: With the bug "lose", what is acknowledged but never reaches the file.
LOST: dict[str, Any] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/v1/status/leader":
            self.reply(200, b'"127.0.0.1:1"')
            return
        entry = (load() | LOST).get(url.path.removeprefix("/v1/kv/"))
        if entry is None:
            self.reply(404, b"")
            return
        value = base64.b64encode(entry["value"].encode()).decode()
        self.reply(200, json.dumps([{"Value": value, "ModifyIndex": entry["index"]}]).encode())

    def do_PUT(self) -> None:
        url = urlsplit(self.path)
        value = self.rfile.read(int(self.headers["Content-Length"])).decode()
        key = url.path.removeprefix("/v1/kv/")
        cas = parse_qs(url.query).get("cas")
        with STORE.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            data = load()
            index = max((entry["index"] for entry in data.values()), default=0) + 1
            current = data.get(key, {"index": 0})["index"]
            if cas and int(cas[0]) != current and BUG != "cas":
                self.reply(200, b"false")
                return
            entry = {"value": value, "index": index}
            if BUG == "lose" and index % 5 == 0:
                LOST[key] = entry
            else:
                LOST.pop(key, None)
                fresh = STORE.with_suffix(f".{CONFIG['node_name']}")
                fresh.write_text(json.dumps(data | {key: entry}))
                fresh.rename(STORE)
        self.reply(200, b"true")

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Silent."""


def load() -> dict[str, Any]:
    try:
        return json.loads(STORE.read_text())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}


if __name__ == "__main__":
    ThreadingHTTPServer((CONFIG["client_addr"], CONFIG["ports"]["http"]), Handler).serve_forever()
