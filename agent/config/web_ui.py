"""The keys of `ui_config`, and the flat ones of old, -> what is shown in the place of a web UI."""

from __future__ import annotations

import re

from agent.config.decode import Values
from agent.config.schema import WebUi
from agent.errors import ConfigError

_PATH = re.compile(r"[A-Za-z0-9_/-]+")
_VERSION = re.compile(r"v[0-9]")


def web_ui(values: Values) -> WebUi:
    """What the user wants. Raises ConfigError."""
    path: str = values.get("ui_config.content_path", values.get("ui_content_path")) or "/ui/"
    if not _PATH.fullmatch(path):
        raise ConfigError(
            f"ui_config.content_path can only contain alphanumeric, -, _, or /. received: {path!r}"
        )
    if _VERSION.search(path):
        raise ConfigError(f"ui_config.content_path cannot have 'v[0-9]'. received: {path!r}")
    directory: str = values.get("ui_config.dir", values.get("ui_dir")) or ""
    on = values.get("ui_config.enabled", values.get("ui", False))
    path = "/" + path.strip("/") + "/"
    return WebUi(on=bool(on or directory), path="/" if path == "//" else path, directory=directory)
