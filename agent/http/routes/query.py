"""Routes of prepared queries."""

from __future__ import annotations

from agent.http import query
from agent.http.routes.table import Body, get, route, write

QUERY = (
    route(
        "/query/",
        get(query.read, ""),
        write("PUT", query.write, "query:write", Body.JSON),
        write("DELETE", query.write, "query:write"),
        own_options=True,
    ),
)
