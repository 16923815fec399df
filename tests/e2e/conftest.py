"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import tests.e2e.cluster as running
from tests.e2e.cluster import AgentProcess, Cluster, cluster


@pytest.fixture(scope="module", autouse=True)
def forking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Agents of this module are forked, unless it is about the installed program."""
    running.FORKING = not getattr(request.module, "WHOLE_PROGRAM", False)
    yield
    running.FORKING = False


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster for one test."""
    with cluster(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers and two client agents for all tests of a module that break nothing."""
    with cluster(tmp_path_factory.mktemp("trio")) as made:
        made.servers(3)
        made.add("c1").ready()
        made.add("c2").ready()
        yield made


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers for tests of a module that break them, each to mend what it broke."""
    with cluster(tmp_path_factory.mktemp("three")) as made:
        made.servers(3)
        yield made


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One development agent."""
    with cluster(tmp_path_factory.mktemp("dev")) as made:
        yield made.add("dev", "-dev").ready()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the ends of the logs of its cluster."""
    report = yield
    if report.failed:
        for made in getattr(item, "funcargs", {}).values():
            if isinstance(made, Cluster):
                report.sections += made.log_ends()
    return report
