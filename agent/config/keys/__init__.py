"""The one table of configuration keys (cli-config contract, section B4), a module per area.

Each row says how a key is spelled, what type it has, whether it counts today, which field of
``AgentConfig`` it fills, and its default where that decides whether a user set something. Whatever
else the loader knows of keys (shapes, unknown keys, warnings, what a reload takes over) is derived
from here. The shapes of service and check definitions are in `agent.config.definition_keys`.

To add a key, or to build one that is there as ``later``:

1. Put its row into the module of its area below this package: ``now("limits.things_max", INT,
   "limits.things_max", positive=True)``. ``positive`` refuses 0 (less than 0 always is), ``live``
   says that a reload takes it over: then also do so, in ``Agent._take_over``.
2. Give the field that ``target`` names to its dataclass in `agent.config.schema`, with the default.
   A whole new group ("dns.", "limits.") is one more dataclass there and one line in `build`.
   A key whose field depends on other keys has no target: `build` works it out of ``values``.
3. What must hold between keys is checked in `agent.config.rules`, with Consul's words.
4. A flag of `agent` for it: one line in ``_KEY_FLAGS`` of `agent.cli.agent`.

An area with a lot of its own (shapes, checks, secrets) gets a module beside `build`, as
`agent.config.certificates` has for TLS, and one line in `build` that calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from agent.config.definition_keys import Kind, Shape
from agent.config.keys.acl import ACL
from agent.config.keys.connect import MESH
from agent.config.keys.dns import DNS
from agent.config.keys.enterprise import ENTERPRISE
from agent.config.keys.gossip import GOSSIP
from agent.config.keys.http import HTTP
from agent.config.keys.limits import LIMITS
from agent.config.keys.local import LOCAL
from agent.config.keys.network import NETWORK
from agent.config.keys.node import LOGS, NODE
from agent.config.keys.removed import REMOVED
from agent.config.keys.rows import Key, Standing
from agent.config.keys.servers import SERVERS
from agent.config.keys.telemetry import TELEMETRY
from agent.config.keys.tls import TLS

__all__ = ["KEYS", "KEYS_BY_PATH", "REMOVED", "TREE", "Key", "Kind", "Shape", "Standing", "Tree"]

KEYS: tuple[Key, ...] = (
    *NODE,
    *LOGS,
    *NETWORK,
    *GOSSIP,
    *SERVERS,
    *LIMITS,
    *DNS,
    *HTTP,
    *LOCAL,
    *TELEMETRY,
    *MESH,
    *ACL,
    *TLS,
    *ENTERPRISE,
)
KEYS_BY_PATH: Mapping[str, Key] = {key.path: key for key in KEYS}

Tree: TypeAlias = "dict[str, Tree | Kind | Shape]"

#: Names with a dot in them.
_DOTTED = {"telemetry.disable_compat_1.9": ("telemetry", "disable_compat_1.9")}


def _tree() -> Tree:
    root: Tree = {}
    for key in KEYS:
        *stanzas, name = _DOTTED.get(key.path) or key.path.split(".")
        level = root
        for stanza in stanzas:
            inner = level.setdefault(stanza, {})
            assert isinstance(inner, dict), f"{key.path} lies below a plain key"
            level = inner
        assert name not in level, f"{key.path} stands twice in the table"
        level[name] = key.kind
    return root


#: The keys as nested stanzas: what a file may look like.
TREE: Tree = _tree()
