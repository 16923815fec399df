"""Routes of config entries."""

from __future__ import annotations

from agent.http import config
from agent.http.routes.table import get, route

CONFIG = (route("/config/", get(config.get, "service:read")),)
