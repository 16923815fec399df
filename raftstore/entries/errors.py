"""Why an entry is refused."""

from __future__ import annotations


class Invalid(ValueError):
    """The entry by itself breaks a rule; the text is Consul's."""


class GraphError(ValueError):
    """The entry would break what other entries stand on; the text names what would break."""
