"""`/v1/acl/auth-method*`: how foreign identities are proved (http-api contract 19)."""

from __future__ import annotations

from typing import Any

from agent.acl.authorizer import WRITE
from agent.durations import format_s
from agent.errors import RequestError
from agent.http import parse_login
from agent.http.acl_named import asked, check_name, written
from agent.http.call import Call
from agent.http.reply import Reply
from agent.login import methods
from raftstore.definition_commands import DeleteACLAuthMethod, SetACLAuthMethod
from raftstore.definition_queries import GetACLAuthMethod, ListACLAuthMethods
from raftstore.definitions import ACLAuthMethod
from raftstore.records import Json

_INVALID = "Invalid Auth Method"


def shown(method: ACLAuthMethod, *, config: bool = True, secrets: bool = True) -> dict[str, Json]:
    """A method as clients see it; lists leave its configuration out."""
    kept = method.content or {}
    found: dict[str, Json] = {"Name": method.name, "Type": method.type}
    names = ("DisplayName", "Description", "MaxTokenTTL", "TokenLocality")
    found |= {name: kept[name] for name in names if kept.get(name)}
    if config:
        held = kept.get("Config")
        found["Config"] = held if secrets else methods.without_secrets(held)
    return found | {"CreateIndex": method.create_index, "ModifyIndex": method.modify_index}


async def list_all(call: Call) -> Reply:
    """All methods, by name."""
    found = await asked(call, ListACLAuthMethods())
    headers = call.read_headers(found, effective=False)
    return call.listing(found.value, lambda each: shown(each, config=False), headers=headers)


async def read(call: Call) -> Reply:
    """One method by name."""
    name = _path_name(call)
    found = await asked(call, GetACLAuthMethod(name))
    if found.value is None:
        return Reply(status=404)
    view = shown(found.value, secrets=call.may("acl", WRITE))
    return call.answer(view, found, effective=False)


async def create(call: Call) -> Reply:
    """Write a method; one of that name is replaced."""
    return await _write(call, parse_login.method(call.body))


async def update(call: Call) -> Reply:
    """Replace the method that the path names."""
    given = parse_login.method(call.body)
    name = _path_name(call)
    if given.get("name", "") not in {"", name}:
        raise RequestError(400, "Bad request: Auth Method Name in URL and payload do not match")
    return await _write(call, given | {"name": name})


async def delete(call: Call) -> Reply:
    """Forget a method, its rules, and the tokens that it gave out."""
    await call.change(DeleteACLAuthMethod(_path_name(call)))
    return call.json(True)


def _path_name(call: Call) -> str:
    if not call.rest:
        raise RequestError(400, "Bad request: Missing auth method name")
    return call.rest


async def _write(call: Call, given: dict[str, Any]) -> Reply:
    name = given.get("name", "")
    check_name(name, "Auth Method")
    stored = (await call.context.backend.ask(GetACLAuthMethod(name))).value
    type = given.get("type", "") or (stored.type if stored is not None else "")
    if stored is not None and type != stored.type:
        raise RequestError(500, "Changing an auth method's type is not permitted")
    method = ACLAuthMethod(name=name, type=type, content=_content(type, given))
    cas = 0 if stored is None else stored.modify_index
    query = GetACLAuthMethod(name)
    return call.json(
        shown(await written(call, SetACLAuthMethod(method, cas), query, "auth method") or method)
    )


def _content(type: str, given: dict[str, Any]) -> dict[str, Json]:
    """What is kept beside name and type. Raises RequestError."""
    ttl_s = given.get("max_token_ttl_s", 0.0)
    if ttl_s:
        for far, word, bound in (
            (ttl_s > methods.TTL_MAX_S, "more", methods.TTL_MAX_S),
            (ttl_s < methods.TTL_MIN_S, "less", methods.TTL_MIN_S),
        ):
            if far:
                reason = f"cannot be {word} than {format_s(bound)}"
                raise RequestError(500, f"MaxTokenTTL {format_s(ttl_s)} {reason}")
    locality = given.get("token_locality", "")
    if locality not in {"", "local", "global"}:
        raise RequestError(500, f"{_INVALID}: TokenLocality should be one of 'local' or 'global'")
    try:
        methods.read(type, given.get("config"))
    except methods.MethodError as error:
        raise RequestError(500, f"{_INVALID}: {error}") from None
    found: dict[str, Json] = {
        "DisplayName": given.get("display_name", ""),
        "Description": given.get("description", ""),
        "MaxTokenTTL": format_s(ttl_s) if ttl_s else "",
        "TokenLocality": locality,
    }
    return {key: value for key, value in found.items() if value} | {"Config": given.get("config")}
