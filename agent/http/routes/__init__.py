"""The one table of the HTTP API, joined from a table per area. What is not in it is 404.

An area's table stands in the module of its name; a new area is added to ``ROUTES`` here.
"""

from __future__ import annotations

from agent.http.routes.acl import ACL
from agent.http.routes.agent import AGENT
from agent.http.routes.catalog import CATALOG
from agent.http.routes.config import CONFIG
from agent.http.routes.connect import CONNECT
from agent.http.routes.internal import INTERNAL
from agent.http.routes.operator import OPERATOR
from agent.http.routes.own import OWN
from agent.http.routes.query import QUERY
from agent.http.routes.router import Router
from agent.http.routes.state import STATE
from agent.http.routes.table import Body, Class, Endpoint, Handler, Plan, Route

ROUTES: tuple[Route, ...] = (
    *AGENT,
    *CATALOG,
    *STATE,
    *CONFIG,
    *QUERY,
    *OPERATOR,
    *CONNECT,
    *INTERNAL,
    *OWN,
    *ACL,
)

__all__ = ["ROUTES", "Body", "Class", "Endpoint", "Handler", "Plan", "Route", "Router"]
