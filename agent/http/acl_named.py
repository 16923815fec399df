"""What endpoints of access control have in common: how a thing is read, named, and replaced.

``what`` is the reference's word for it in its errors: "policy", "role", "binding rule".
"""

from __future__ import annotations

from typing import Any, TypeVar

from agent.acl.builtin import is_name
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.http.acl_links import path_id
from agent.http.call import FAILED_READ, Call
from raftstore.commands import Command
from raftstore.queries import Query

T = TypeVar("T")


async def asked(call: Call, query: Query[T]) -> Answered[T]:
    """The answer to a read; an error from here on tells of a read that failed."""
    options = call.options()
    call.failure_headers = FAILED_READ
    return await call.ask(query, options)


def path_name(call: Call, what: str) -> str:
    """The name in a path. Raises RequestError."""
    if not call.rest:
        raise RequestError(400, f"Bad request: Missing {what} Name")
    return call.rest


def check_new(given: dict[str, Any], what: str) -> None:
    """Refuse a body that chooses the id of what is to be made. Raises RequestError."""
    if given.get("id"):
        raise RequestError(400, f"Bad request: Cannot specify the ID when creating a new {what}")


def replaced_id(call: Call, given: dict[str, Any], what: str, title: str = "") -> str:
    """The id in the path of what is to be replaced; a body that names one names the same.

    ``title``: the word where it begins a sentence, if that is another one. Raises RequestError.
    """
    if not call.rest:
        raise RequestError(400, f"Bad request: Missing {what} ID")
    if given.get("id") and given["id"].lower() != call.rest.lower():
        shown = title or what.capitalize()
        raise RequestError(400, f"Bad request: {shown} ID in URL and payload do not match")
    return path_id(call, what)


def check_name(name: str, title: str, *, builtin: bool = False) -> None:
    """Refuse what cannot be a name. Raises RequestError."""
    if not name:
        raise RequestError(500, f"Invalid {title}: no Name is set")
    if not builtin and not is_name(name):
        words = "Only alphanumeric characters, '-' and '_' are allowed"
        raise RequestError(500, f"Invalid {title}: invalid Name. {words}")


async def stored(call: Call, query: Query[T | None], what: str) -> T:
    """What is there, to be replaced. Raises RequestError where there is nothing."""
    found = (await call.context.backend.ask(query)).value
    if found is None:
        raise RequestError(500, f"cannot find {what} {call.rest.lower()}")
    return found


async def written(call: Call, command: Command, query: Query[T | None], what: str) -> T | None:
    """Carry a command out, and what is there then. Raises RequestError if somebody was faster."""
    if not await call.change(command):
        raise RequestError(500, f"the {what} was changed at the same time; try again")
    return (await call.context.backend.ask(query)).value
