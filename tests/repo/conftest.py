"""The rules keep the syntax of all files: millions of objects, and no garbage among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def unwatched() -> Iterator[None]:
    """The collector would walk over them again and again, for half of the time that rules take."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
