"""The keys of `ui_config`."""

from __future__ import annotations

from typing import Any

import pytest

from agent.config.schema import WebUi
from agent.config.web_ui import web_ui
from agent.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, WebUi()),
        ({"ui": True}, WebUi(on=True)),
        ({"ui": True, "ui_config.enabled": False}, WebUi()),
        ({"ui_config.dir": "/a"}, WebUi(on=True, directory="/a")),
        ({"ui_dir": "/a", "ui_content_path": "b/c"}, WebUi(on=True, path="/b/c/", directory="/a")),
        ({"ui_config.content_path": "/"}, WebUi(path="/")),
    ],
)
def test_what_is_shown(given: dict[str, Any], wanted: WebUi) -> None:
    assert web_ui(given) == wanted


@pytest.mark.parametrize("path", ["/a b/", "/../", "/v1/", "/x?y/"])
def test_a_path_that_cannot_be(path: str) -> None:
    with pytest.raises(ConfigError):
        web_ui({"ui_config.content_path": path})
