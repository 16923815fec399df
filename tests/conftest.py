"""Options and rules that all tests share: seeds of the simulations.

A test that takes the argument ``sim_seed`` runs once per seed: `--seed N` repeats one seed,
`--runs N` makes N of them (seeds 1..N). Without either, the test's own number of runs counts:
``@pytest.mark.sim_runs(5)``. A failure says how to repeat it.

Hypothesis: no test fails because the machine is slow (deadlines, the health check for slow input),
and what fails says its seed, also where it ran into its timeout. `--hypothesis-profile=shrinking`
makes also long examples smaller (tests/strategies.py, ``long_examples``); `thorough` draws as many
examples as each test names (``scaled``) and 100 where it names none.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

if os.environ.get("LICTOR_TEST_NATIVE"):  # before anything of the proxy is loaded
    from agent.connect import native

    native.use("require")

RUNS_DEFAULT = 3
SEEDS_MANY = 10  # from so many on, a run takes half of them and `make properties` all

settings.register_profile(
    "patient",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=50,
)
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=100)
settings.register_profile("shrinking", settings.get_profile("patient"))
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, default=None, help="repeat the run of this seed")
    group.addoption("--runs", type=int, default=None, help="seeds per simulated scenario")
    parser.addoption("--kill-rounds", type=int, default=2, help="how often all servers are killed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Eleven thousand tests are kept to the end: looking for garbage among them again and again
    takes a third of the time in which they are read, and every later pass would walk over them."""
    gc.disable()
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sim_runs(n): seeds of this scenario without --runs")


@pytest.fixture
def kill_rounds(pytestconfig: pytest.Config) -> int:
    """How often everybody is killed and started again, on the same disks."""
    return int(pytestconfig.getoption("--kill-rounds"))


def sim_seeds(config: pytest.Config, runs: int = RUNS_DEFAULT) -> list[int]:
    """The seeds to run: the one asked for, or the first so many."""
    seed = config.getoption("--seed")
    if seed is not None:
        return [seed]
    if runs >= SEEDS_MANY and settings.get_current_profile_name() != "thorough":
        runs //= 2
    return list(range(1, (config.getoption("--runs") or runs) + 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sim_seed" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("sim_runs")
    runs = marker.args[0] if marker else RUNS_DEFAULT
    seeds = sim_seeds(metafunc.config, runs)
    metafunc.parametrize("sim_seed", seeds, ids=[f"seed{seed}" for seed in seeds])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seed = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_generated_seed", None)
    if report.failed and seed is not None:
        report.sections.append(("Hypothesis", f"repeat with --hypothesis-seed={seed}"))
    callspec: Any = getattr(item, "callspec", None)
    if report.failed and callspec is not None and "sim_seed" in callspec.params:
        seed = callspec.params["sim_seed"]
        report.sections.append(("repeat this run", f"seed {seed}: make sim SEED={seed}"))
    return report
