"""What is told of bounds on requests."""

from __future__ import annotations

from agent.explain.limits import explain_limits
from agent.quotas import Quotas, RequestLimits
from tests.agent.http.rig import make_config


def test_bounds_and_what_met_them_are_told() -> None:
    quotas = Quotas(RequestLimits(mode="enforcing", write_rate=0))
    quotas.ask(write=True, token="secret", client="c", now=0.0)
    told = explain_limits(make_config(), quotas)
    assert told["Mode"] == "enforcing"
    assert told["Bounds"]["write"] == {"PerSecond": 0, "Refused": 1, "LetPass": 0}
    assert told["Bounds"]["token read"] == {"PerSecond": None, "Refused": 0, "LetPass": 0}
    assert told["BodyBytes"]["JSON"] == 1_048_576
    assert "secret" not in str(told)
