"""The mTLS connect proxy: what runs beside every service of the mesh.

The decisions (who is that, may it come in, where does it go, when does it end) are pure and live in
`spiffe`, `authz`, `connection` and `balance`; the bytes live in `relay`; `server.Proxy` puts them
together, and `worker.run_proxy` is a whole sidecar process. Nothing here knows the agent's code: a
sidecar learns everything through a `source.Source`.
"""

from proxy.authz import Decision, Policy, Rule, decide
from proxy.errors import IdentityError, ProxyError
from proxy.spiffe import SpiffeId

__all__ = [
    "Decision",
    "IdentityError",
    "Policy",
    "ProxyError",
    "Rule",
    "SpiffeId",
    "decide",
]
