"""`/v1/acl/login` and `/v1/acl/logout`: a token for a foreign identity, and its end."""

from __future__ import annotations

from agent.backend import logins
from agent.errors import RequestError
from agent.http import parse_login
from agent.http.call import Call
from agent.http.reply import Reply


async def login(call: Call) -> Reply:
    """A token for whom the bearer token names, by an auth method and its binding rules."""
    given = parse_login.login(call.body)
    call.check_datacenter()
    asked = logins.Login(
        method=given.get("method", ""),
        bearer=given.get("bearer", ""),
        meta=given.get("meta", {}),
        address=call.address,
        node=call.context.config.node_name,
    )
    return call.json(await logins.login(call.context.backend, asked))


async def logout(call: Call) -> Reply:
    """End the token of this request, which a login gave out."""
    call.check_datacenter()
    if not call.secret:
        raise RequestError(403, "ACL not found")
    asked = logins.Logout(
        secret=call.secret, address=call.address, node=call.context.config.node_name
    )
    await logins.logout(call.context.backend, asked)
    return call.json(True)


async def auth_url(call: Call) -> Reply:
    """Where a browser has to go to log in by a method of type oidc."""
    asked = logins.OidcBegin(**parse_login.auth_url(call.body))
    call.check_datacenter()
    return call.json(await logins.begin_oidc(call.context.backend, asked))


async def callback(call: Call) -> Reply:
    """A token for whom the provider has proved to be there."""
    given = parse_login.callback(call.body)
    call.check_datacenter()
    asked = logins.OidcFinish(**given, address=call.address, node=call.context.config.node_name)
    return call.json(await logins.finish_oidc(call.context.backend, asked))
