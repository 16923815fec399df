"""`/v1/explain/<what>/<args>`: why a decision fell, as data from agent/explain."""

from __future__ import annotations

from agent.errors import RequestError
from agent.http.call import Call
from agent.http.reply import Reply


async def explain(call: Call) -> Reply:
    """Hand the question to the explainer of that name."""
    what, *arguments = call.rest.split("/")
    explainer = call.context.explainers.get(what)
    if explainer is None:
        known = ", ".join(sorted(call.context.explainers)) or "nothing"
        raise RequestError(404, f'Cannot explain "{what}". Known: {known}')
    given = [argument for argument in arguments if argument]
    return call.json(await explainer(given, call.params.first()))
