"""Routes of access control."""

from __future__ import annotations

from agent.http import acl
from agent.http.routes.table import Route, route, write


def _acl(path: str, *methods: str) -> Route:
    return route(path, *(write(method, acl.disabled, "acl:write") for method in methods))


ACL = (
    _acl("/acl/bootstrap", "PUT"),
    *(_acl(f"/acl/{name}", "POST") for name in ("login", "logout", "rules/translate")),
    *(
        _acl(f"/acl/{name}", "GET")
        for name in (
            "replication",
            "tokens",
            "policies",
            "roles",
            "binding-rules",
            "auth-methods",
            "token/self",
            "policy/name/",
            "role/name/",
            "templated-policies",
            "templated-policy/name/",
        )
    ),
    *(
        _acl(f"/acl/{name}", "PUT")
        for name in ("token", "policy", "role", "binding-rule", "auth-method")
    ),
    *(
        _acl(f"/acl/{name}/", "GET", "PUT", "DELETE")
        for name in ("token", "policy", "role", "binding-rule", "auth-method")
    ),
    _acl("/acl/templated-policy/preview/", "POST"),
    _acl("/internal/acl/authorize", "POST"),
)
