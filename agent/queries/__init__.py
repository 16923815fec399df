"""Prepared queries: what one says, what a template makes of a name, and how one is carried out.

Pure. ``execution`` names what it needs of the state step by step, so that a face that holds the
state (DNS) and one that has to ask for it (HTTP) carry out a query alike::

    found = run(execution(Request(name="geo-redis", agent="n1"), rng), facts.get)
    found = await run_asking(execution(Request(name="geo-redis", agent="n1"), rng), ask)
"""

from __future__ import annotations

from agent.queries.definition import (
    Definition,
    Failover,
    ServiceQuery,
    Target,
    Template,
    definition_of,
    problem,
    to_content,
)
from agent.queries.elsewhere import NOWHERE, Datacenters, Elsewhere, Nowhere, Question
from agent.queries.execution import (
    ADDRESS,
    Candidates,
    Executed,
    QueryNotFound,
    QueryRefused,
    Request,
    Wish,
    arrangement,
    candidates,
    meeting,
    resolution,
    run,
    run_asking,
)
from agent.queries.failover import execution, looks_elsewhere, wanted
from agent.queries.template import TemplateError, compile_template

__all__ = [
    "ADDRESS",
    "NOWHERE",
    "Candidates",
    "Datacenters",
    "Definition",
    "Elsewhere",
    "Executed",
    "Failover",
    "Nowhere",
    "QueryNotFound",
    "QueryRefused",
    "Question",
    "Request",
    "ServiceQuery",
    "Target",
    "Template",
    "TemplateError",
    "Wish",
    "arrangement",
    "candidates",
    "compile_template",
    "definition_of",
    "execution",
    "looks_elsewhere",
    "meeting",
    "problem",
    "resolution",
    "run",
    "run_asking",
    "to_content",
    "wanted",
]
