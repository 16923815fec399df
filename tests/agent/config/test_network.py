"""Where each face listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.errors import ConfigError
from tests.agent.config.hosts import load_values


def test_each_face_may_have_its_own_addresses(tmp_path: Path) -> None:
    values = {
        "client_addr": "127.0.0.1 127.0.0.2",
        "addresses": {"http": "unix:///run/a.sock 127.0.0.3", "dns": "127.0.0.4"},
        "unix_sockets": {"user": "me", "mode": "0660"},
        "ports": {"https": 0},
    }
    loaded = load_values(values, tmp_path)
    config = loaded.config
    assert loaded.warnings == ()
    assert config.http_addrs == ("unix:///run/a.sock", "127.0.0.3")
    assert config.https_addrs == ("127.0.0.1", "127.0.0.2")
    assert config.dns_addrs == ("127.0.0.4",)
    assert (config.unix_sockets.user, config.unix_sockets.mode) == ("me", "0660")
    assert config.port_https == -1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"addresses": {"http": "unix://relative"}}, "the path of a unix socket must be absolute"),
        ({"addresses": {"dns": "unix:///a"}}, "DNS address cannot be a unix socket"),
        ({"addresses": {"https": "host"}}, "addresses.https: invalid ip address: host"),
        ({"unix_sockets": {"mode": "rw"}}, 'unix_sockets.mode: "rw" is not an octal mode'),
        (
            {"ports": {"https": 8500}},
            "HTTPS address 127.0.0.1:8500 already configured for HTTP",
        ),
        (
            {"addresses": {"http": "unix:///a", "https": "unix:///a"}, "ports": {"https": 1}},
            "HTTPS address unix:///a already configured for HTTP",
        ),
    ],
    ids=["relative", "dns", "no address", "mode", "same port", "same path"],
)
def test_addresses_that_cannot_be(values: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        load_values(values, tmp_path)
