"""What stands where Consul has its web interface: checks of the agent itself lead there."""

from __future__ import annotations

#: Must be found, since `/` leads to it when `ui_config.enabled` is set; small, without scripts.
UI_PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>lictor</title></head>
<body><h1>lictor</h1><p>This agent is running. It has no web interface; its API is described in
<a href="/v1/openapi.json">/v1/openapi.json</a>.</p></body></html>
"""
