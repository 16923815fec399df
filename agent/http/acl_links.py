"""What handlers of access control share: links by id or name, hashes, ids, and being on at all."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from agent.acl import identities
from agent.acl.caller import NOT_FOUND
from agent.acl.grants import fields
from agent.backend import Ask
from agent.errors import RequestError
from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from raftstore.definition_queries import (
    GetACLPolicy,
    GetACLRole,
    ListACLPolicies,
    ListACLRoles,
)
from raftstore.definitions import ACLPolicy, ACLRole, ACLToken
from raftstore.queries import Query
from raftstore.records import Json
from raftstore.uuids import lookup_problem

Handler = Callable[[Call], Awaitable[Reply]]

#: Links of one token or role.
LINKS_MAX = 512
#: For more objects than this all names are asked for at once.
_SINGLE_LOOKS_MAX = 16


def switched_on(handler: Handler) -> Handler:
    """A handler that says so while access control is off."""

    @functools.wraps(handler)
    async def checked(call: Call) -> Reply:
        if not call.access.enabled:
            raise RequestError(401, "ACL support disabled")
        return await handler(call)

    return checked


def new_id(call: Call) -> str:
    """A random UUID."""
    return str(uuid.UUID(int=call.context.rng.getrandbits(128), version=4))


def path_id(call: Call, what: str, rest: str | None = None) -> str:
    """The UUID in a path, in lower case. Raises RequestError in the words of the state's index."""
    text = call.rest if rest is None else rest
    if not text:
        raise RequestError(400, f"Bad request: Missing {what} ID")
    problem = lookup_problem(text)
    if problem:
        call.failure_headers = FAILED_READ if call.method == "GET" else ()
        raise RequestError(500, f"failed acl {what} lookup: {problem}")
    return text.lower()


def missing(call: Call, found: Any) -> RequestError:
    """What a read of something absent raises, with the headers that tell of the read."""
    call.failure_headers = call.read_headers(found, effective=False)
    return RequestError(403, NOT_FOUND)


async def linked(
    call: Call, given: Sequence[Mapping[str, Any]], what: str, query: type[Query[Any]]
) -> tuple[str, ...]:
    """The ids of what is linked by id or name. Raises RequestError for what is not there."""
    if len(given) > LINKS_MAX:
        raise RequestError(500, f"more than {LINKS_MAX} links")
    ids: dict[str, None] = {}
    for link in given:
        link_id, name = link.get("id", ""), link.get("name", "")
        by_id: Any = query
        found = await call.context.backend.ask(
            by_id(id=link_id.lower()) if link_id else by_id(name=name)
        )
        if found.value is None:
            shown = f'ID "{link_id}"' if link_id else f'name "{name}"'
            raise RequestError(500, f"No such ACL {what} with {shown}")
        ids[found.value.id] = None
    return tuple(ids)


async def policy_ids(call: Call, given: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The ids of linked policies."""
    return await linked(call, given, "policy", GetACLPolicy)


async def role_ids(call: Call, given: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The ids of linked roles."""
    return await linked(call, given, "role", GetACLRole)


class Names:
    """The names behind ids, as they are now; what is gone has none."""

    __slots__ = ("policies", "roles")

    def __init__(self, policies: Mapping[str, str], roles: Mapping[str, str]) -> None:
        self.policies = policies
        self.roles = roles

    @classmethod
    async def of(
        cls, call: Call, items: Iterable[ACLToken | ACLRole], *, single: bool = False
    ) -> Names:
        """For what these objects link to; ``single``: each is asked for by itself."""
        held = list(items)
        policies = {each for item in held for each in item.policies}
        roles = {each for item in held if isinstance(item, ACLToken) for each in item.roles}
        return cls(
            await _names(call, policies, GetACLPolicy, None if single else ListACLPolicies()),
            await _names(call, roles, GetACLRole, None if single else ListACLRoles()),
        )


async def _names(
    call: Call,
    ids: set[str],
    one: Any,
    every: Query[tuple[ACLPolicy, ...]] | Query[tuple[ACLRole, ...]] | None,
) -> dict[str, str]:
    backend = call.context.backend
    at = Ask(at=call.options().at)
    if every is not None and len(ids) > _SINGLE_LOOKS_MAX:
        listed: Any = await backend.ask(every, at)
        return {item.id: item.name for item in listed.value if item.id in ids}
    found = [(await backend.ask(one(id=each), at)).value for each in sorted(ids)]
    return {item.id: item.name for item in found if item is not None}


def shown_links(ids: Iterable[str], names: Mapping[str, str]) -> list[Json]:
    """Links as clients see them."""
    return [{"ID": each, "Name": names[each]} for each in ids if each in names]


def shown_identities(content: Json) -> dict[str, Json]:
    """The identities of a token or role; none of a kind shows nothing."""
    return identities.shown(fields(content))


def given_identities(
    given: Mapping[str, Any], holder: str, *, local: bool = False
) -> dict[str, Json]:
    """The identities that a body names, checked, in the form that they are kept in."""
    found: dict[str, Json] = {
        "ServiceIdentities": identities.service_identities(
            given.get("service_identities", ()), holder, local=local
        ),
        "NodeIdentities": identities.node_identities(given.get("node_identities", ()), holder),
        "TemplatedPolicies": identities.templated_policies(
            given.get("templated_policies", ()), holder
        ),
    }
    return {kind: items for kind, items in found.items() if items}
