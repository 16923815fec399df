"""Routes of access control."""

from __future__ import annotations

from agent.http.acl_links import switched_on
from agent.http.routes.late import LateHandlers
from agent.http.routes.table import Body, Endpoint, Handler, Route, get, route, write
from agent.http.tokens import ANY_TOKEN, OPEN

acl = LateHandlers("acl")
acl_bindings = LateHandlers("acl_bindings")
acl_login = LateHandlers("acl_login")
acl_methods = LateHandlers("acl_methods")
acl_policies = LateHandlers("acl_policies")
acl_roles = LateHandlers("acl_roles")
acl_tokens = LateHandlers("acl_tokens")


def _get(handler: Handler, permission: str = "acl:read") -> Endpoint:
    return get(switched_on(handler), permission)


def _write(method: str, handler: Handler, permission: str = "acl:write") -> Endpoint:
    body = Body.NONE if method == "DELETE" else Body.JSON
    return write(method, switched_on(handler), permission, body)


def _named(path: str, read: Handler, update: Handler, delete: Handler) -> Route:
    return route(path, _get(read), _write("PUT", update), _write("DELETE", delete))


ACL = (
    route("/acl/bootstrap", _write("PUT", acl.bootstrap, OPEN)),
    route("/acl/replication", _get(acl.replication, OPEN)),
    route("/acl/rules/translate", _write("POST", acl.translate_rules, ANY_TOKEN)),
    route("/internal/acl/authorize", _write("POST", acl.authorize, ANY_TOKEN)),
    route("/acl/tokens", _get(acl_tokens.list_all)),
    route("/acl/token", _write("PUT", acl_tokens.create)),
    route("/acl/token/self", _get(acl_tokens.read_self, OPEN)),
    _named("/acl/token/", acl_tokens.read, acl_tokens.update, acl_tokens.delete),
    route("/acl/policies", _get(acl_policies.list_all)),
    route("/acl/policy", _write("PUT", acl_policies.create)),
    route("/acl/policy/name/", _get(acl_policies.read_by_name)),
    _named("/acl/policy/", acl_policies.read, acl_policies.update, acl_policies.delete),
    route("/acl/roles", _get(acl_roles.list_all)),
    route("/acl/role", _write("PUT", acl_roles.create)),
    route("/acl/role/name/", _get(acl_roles.read_by_name)),
    _named("/acl/role/", acl_roles.read, acl_roles.update, acl_roles.delete),
    route("/acl/templated-policies", _get(acl.templates)),
    route("/acl/templated-policy/name/", _get(acl.template_by_name)),
    route("/acl/templated-policy/preview/", _write("POST", acl.template_preview, "acl:read")),
    # Of the first ACL system, which has ended.
    route("/acl/list", _get(acl.legacy_list)),
    route("/acl/info/", _get(acl.legacy)),
    *(
        route(f"/acl/{name}", write("PUT", switched_on(acl.legacy), "acl:write"))
        for name in ("create", "update", "destroy/", "clone/")
    ),
    # Logins, and what they are bound to.
    route("/acl/login", _write("POST", acl_login.login, OPEN)),
    route("/acl/logout", write("POST", switched_on(acl_login.logout), OPEN)),
    route("/acl/oidc/auth-url", write("POST", switched_on(acl_login.auth_url), OPEN, Body.JSON)),
    route("/acl/oidc/callback", write("POST", switched_on(acl_login.callback), OPEN, Body.JSON)),
    route("/acl/auth-methods", _get(acl_methods.list_all)),
    route("/acl/auth-method", _write("PUT", acl_methods.create)),
    _named("/acl/auth-method/", acl_methods.read, acl_methods.update, acl_methods.delete),
    route("/acl/binding-rules", _get(acl_bindings.list_all)),
    route("/acl/binding-rule", _write("PUT", acl_bindings.create)),
    _named("/acl/binding-rule/", acl_bindings.read, acl_bindings.update, acl_bindings.delete),
)
