"""Routes of prepared queries. Those below an id check methods by themselves in the reference."""

from __future__ import annotations

from agent.http.routes.late import LateHandlers
from agent.http.routes.table import Body, get, route, write
from agent.http.tokens import ANY_TOKEN

query = LateHandlers("query")

QUERY = (
    route(
        "/query",
        get(query.list_all, "query:read"),
        write("POST", query.create, "query:write", Body.JSON),
    ),
    route(
        "/query/",
        get(query.read, "query:read"),
        write("PUT", query.update, "query:write", Body.JSON),
        write("DELETE", query.delete, "query:write"),
        own_options=True,
    ),
    route("/query/", get(query.execute, ANY_TOKEN), own_options=True, suffix="/execute"),
    route("/query/", get(query.explain, "query:read"), own_options=True, suffix="/explain"),
)
