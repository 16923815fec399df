"""What stands where Consul has its web interface: the operator's own files, or a page that says
that there is none. Checks of the agent itself lead here.

Reads files in threads, each anew and bounded. Nothing outside of the directory is given out,
neither by a path nor by a link.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
from pathlib import Path

from agent.config.schema import WebUi
from agent.http.reply import Reply, header

log = logging.getLogger("lictor.agent.http.web_ui")

#: Must be found, since `/` leads to it when `ui_config.enabled` is set; small, without scripts.
UI_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>lictor</title></head>
<body><h1>lictor</h1><p>This agent is running. It has no web interface; its API is described in
<a href="/v1/openapi.json">/v1/openapi.json</a>.</p></body></html>
"""
HTML = "text/html; charset=utf-8"
#: A larger file is not given out.
FILE_BYTES_MAX = 16 * 1024 * 1024
INDEX = "index.html"


def found_at(ui: WebUi, path: str) -> str | None:
    """What of the interface a path means, "" for its beginning; None for none of it."""
    if not ui.on or not path.startswith(ui.path):
        return None
    return path[len(ui.path) :]


async def answer(ui: WebUi, rest: str) -> Reply:
    """A page or file of the interface. A name that there is not is the interface's own business:
    its index is given, as for all programs that run in a browser."""
    if not ui.directory:
        return Reply(UI_PAGE, HTML) if not rest else Reply(status=404)
    for name in (rest or INDEX, INDEX):
        content = await asyncio.to_thread(_read, Path(ui.directory), name)
        if content is not None:
            kind, _ = mimetypes.guess_type(name)
            shown = HTML if kind == "text/html" else kind or "application/octet-stream"
            return Reply(content, shown, headers=(header("X-Content-Type-Options", "nosniff"),))
    return Reply(status=404)


def _read(directory: Path, name: str) -> bytes | None:
    """A file below the directory; None for anything else."""
    try:
        root = directory.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file():
            return None
        if path.stat().st_size > FILE_BYTES_MAX:
            log.warning("file of the interface is too large path=%s", path)
            return None
        return path.read_bytes()
    except (OSError, ValueError):
        return None
