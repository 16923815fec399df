"""What an agent tells a sidecar that it starts beside its flags: variables of its environment."""

from __future__ import annotations

#: The agent's process (see proxy.worker.ProxyOptions.parent_pid). What the child starts inherits
#: it, so it counts only where it names the parent.
PARENT_PID_VARIABLE = "LICTOR_PARENT_PID"
#: When the child was started, in nanoseconds since the host was: who of several is the latest.
ORDER_VARIABLE = "LICTOR_SIDECAR_ORDER"
#: The token, which must not stand on a command line that every user of the host can read.
TOKEN_VARIABLE = "CONSUL_HTTP_TOKEN"  # noqa: S105  (a variable's name)
