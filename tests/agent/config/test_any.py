"""Whatever files say, the answer is a configuration or an error for the user, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.config.keys import KEYS, TREE
from agent.config.load import AgentFlags, load
from agent.errors import ConfigError
from tests.agent.config.hosts import host
from tests.strategies import scaled

#: Values that one or the other key takes for its own.
WORDS = st.sampled_from(
    [
        "", "a", "10s", "-1s", "0", "127.0.0.1", "::1", "unix:///x", "10.0.0.0/8", "deny", "allow",
        "{{ GetPrivateIP }}", "{{ Get", "TLSv1_2", "TLSv1_1", "consul", "dc1", "web", "http",
        "+a", "-b", "provider=aws", "x:1", "info", "\x00", "ä" * 200, "1h", "auto", "*",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-3, 70_000) | st.floats(allow_nan=False) | WORDS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "id", "port", "type", "args", "key", "check", "ttl", "checks", "kind"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
PATHS = st.sampled_from([key.path for key in KEYS if not key.path.endswith("1.9")])


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Key paths as stanzas; where two do not go together the first one stays."""
    root: dict[str, Any] = {}
    for path, value in values.items():
        *stanzas, name = path.split(".")
        level = root
        for stanza in stanzas:
            inner = level.setdefault(stanza, {})
            if not isinstance(inner, dict):
                break
            level = inner
        else:
            level.setdefault(name, value)
    return root


def answered(*paths: str, **flags: Any) -> None:
    try:
        loaded = load(AgentFlags(paths=paths, **flags), host=host())
    except ConfigError:
        return
    assert set(loaded.values) <= {key.path for key in KEYS}
    assert set(loaded.origins) == set(loaded.values)


@settings(max_examples=scaled(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(PATHS, ANYTHING, max_size=6), st.booleans())
def test_any_values_under_real_keys(tmp_path: Path, values: dict[str, Any], dev: bool) -> None:
    file = tmp_path / "f.json"
    file.write_text(json.dumps({"data_dir": str(tmp_path), **nested(values)}))
    answered(str(file), dev=dev)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text('abc_={}[]"\n#,:.<-1 $', max_size=80))
def test_any_text(tmp_path: Path, text: str) -> None:
    for name in ("f.hcl", "f.json"):
        (tmp_path / name).write_text(text)
        answered(str(tmp_path / name))
    answered(fragments=(text,))


def test_every_stanza_and_key_can_be_null(tmp_path: Path) -> None:
    def empty(tree: Any) -> Any:
        return {k: empty(v) if isinstance(v, dict) else None for k, v in tree.items()}

    (tmp_path / "f.json").write_text(json.dumps({**empty(TREE), "data_dir": "d"}))
    load(AgentFlags(paths=[str(tmp_path / "f.json")]), host=host())
