"""`/v1/config/`: config entries, as far as this agent has them: the intentions (contract 11)."""

from __future__ import annotations

from agent.errors import RequestError
from agent.http import render
from agent.http.call import Call, text
from agent.http.reply import Reply
from raftstore.queries import ListIntentions

_KIND = "service-intentions"
#: Kinds that clients know; of these none can be written yet.
_EMPTY_KINDS = frozenset(
    {
        "service-defaults",
        "proxy-defaults",
        "service-router",
        "service-splitter",
        "service-resolver",
        "ingress-gateway",
        "terminating-gateway",
        "mesh",
    }
)


async def get(call: Call) -> Reply:
    """One entry, or all entries of a kind."""
    options = call.options()
    kind, _, name = call.rest.partition("/")
    if kind and kind != _KIND and kind not in _EMPTY_KINDS:
        raise RequestError(500, f"invalid config entry kind: {kind}")
    found = await call.ask(ListIntentions(), options)
    known = found.value if kind in {_KIND, ""} else ()
    if name:
        mine = [item for item in known if item.destination == name]
        headers = call.read_headers(found, effective=False)
        if not mine:
            missing = f'Config entry not found for "{kind}" / "{name}"'
            return text(missing, status=404, headers=headers)
        return call.json(render.service_intentions(name, mine), headers=headers)
    names = dict.fromkeys(item.destination for item in known)
    shown = [
        render.service_intentions(each, [item for item in known if item.destination == each])
        for each in names
    ]
    return call.answer(shown, found, effective=False)
