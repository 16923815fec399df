"""Agents run on uvloop: it is its TLS and its back-pressure that have to hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give every asynchronous test of this folder the agents' loop."""
    return {"uvloop": uvloop.new_event_loop}
