"""Routes of the mesh: authority and intentions."""

from __future__ import annotations

from agent.http import connect
from agent.http.routes.late import LateHandlers
from agent.http.routes.table import Body, get, route, with_mesh, write

intentions = LateHandlers("intentions")
revocations = LateHandlers("revocations")

CONNECT = (
    route("/connect/ca/roots", with_mesh(get(connect.roots, ""))),
    route(
        "/connect/ca/configuration",
        with_mesh(get(connect.configuration_get, "operator:read")),
        with_mesh(write("PUT", connect.configuration_put, "operator:write", Body.JSON)),
    ),
    route("/connect/ca/revoke", write("PUT", revocations.revoke, "operator:write", Body.JSON)),
    route(
        "/connect/ca/revocations",
        get(revocations.list_all, ""),
        write("DELETE", revocations.drop, "operator:write"),
    ),
    route("/connect/ca/csr", with_mesh(write("PUT", connect.signing_request, "operator:write"))),
    route(
        "/connect/ca/intermediate",
        with_mesh(write("PUT", connect.set_intermediate, "operator:write", Body.JSON)),
    ),
    route("/connect/ca/rotate", with_mesh(write("PUT", connect.rotate, "operator:write"))),
    route(
        "/connect/intentions",
        get(intentions.list_all, "intentions:read"),
        write("POST", intentions.create, "intentions:write", Body.JSON),
    ),
    route("/connect/intentions/match", get(intentions.match, "intentions:read")),
    route("/connect/intentions/check", get(intentions.check, "intentions:read")),
    route(
        "/connect/intentions/exact",
        get(intentions.exact_get, "intentions:read"),
        write("PUT", intentions.exact_put, "intentions:write", Body.JSON),
        write("DELETE", intentions.exact_delete, "intentions:write"),
    ),
    route(
        "/connect/intentions/",
        get(intentions.id_get, "intentions:read"),
        write("PUT", intentions.id_put, "intentions:write", Body.JSON),
        write("DELETE", intentions.id_delete, "intentions:write"),
    ),
)
