"""`/v1/acl/` but tokens, policies and roles: bootstrap, templates, what may I do (contract 19)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from agent.acl.authorizer import READ, VERBS
from agent.acl.builtin import GLOBAL_MANAGEMENT_ID, TEMPLATES, Template
from agent.acl.caller import DENIED, Need
from agent.acl.definitions import content_hash, token_content
from agent.acl.identities import check_variable
from agent.acl.rules import NAMED, RESOURCES, RulesError
from agent.acl.translate import translate
from agent.backend import access
from agent.errors import RequestError
from agent.http import parse_acl
from agent.http.acl_links import Names, new_id
from agent.http.acl_tokens import shown
from agent.http.call import Call, text
from agent.http.reply import Reply
from raftstore.commands import Rejected
from raftstore.definition_queries import ListACLTokens
from raftstore.definitions import ACLToken
from raftstore.records import Json
from raftstore.uuids import uuid_problem

#: What may be asked about in one request.
AUTHORIZATIONS_MAX = 64
_NO_TIME = "0001-01-01T00:00:00Z"
_REMOVED = "Endpoint for the legacy ACL system was removed"


async def disabled(_call: Call) -> Reply:
    """401, whatever was asked."""
    raise RequestError(401, "ACL support disabled")


async def bootstrap(call: Call) -> Reply:
    """Make the first management token, once, or once more after a reset."""
    secret = parse_acl.bootstrap(call.body)
    if secret and uuid_problem(secret):
        raise RequestError(400, f"Bad request: invalid bootstrap secret: {uuid_problem(secret)}")
    token = ACLToken(
        accessor=new_id(call),
        secret=secret or new_id(call),
        policies=(GLOBAL_MANAGEMENT_ID,),
        content=token_content(
            "Bootstrap Token (Global Management)", time.time(), policies=(GLOBAL_MANAGEMENT_ID,)
        ),
    )
    outcome = await access.bootstrap(call.context.backend, token)
    if isinstance(outcome, Rejected):
        raise RequestError(403, f"{DENIED}: {outcome.reason}")
    names = Names({GLOBAL_MANAGEMENT_ID: "global-management"}, {})
    written = replace(token, create_index=outcome.index, modify_index=outcome.index)
    return call.json(shown(written, names))


async def replication(call: Call) -> Reply:
    """How tokens come from another datacenter: not at all, there is one."""
    return call.json(
        {
            "Enabled": False,
            "Running": False,
            "SourceDatacenter": "",
            "ReplicationType": "",
            "ReplicatedIndex": 0,
            "ReplicatedRoleIndex": 0,
            "ReplicatedTokenIndex": 0,
            "LastSuccess": _NO_TIME,
            "LastError": _NO_TIME,
        }
    )


async def translate_rules(call: Call) -> Reply:
    """Old rules in the new form."""
    try:
        return text(translate(call.body.decode("utf-8", "replace")))
    except RulesError as error:
        raise RequestError(400, f"Bad request: {error}") from None


async def legacy_list(call: Call) -> Reply:
    """The tokens of the first ACL system: there are none."""
    found = await call.ask(ListACLTokens(), call.options())
    return call.answer([], found, effective=False)


async def legacy(_call: Call) -> Reply:
    """Whatever else belonged to it."""
    raise RequestError(410, _REMOVED)


# -- templated policies --------------------------------------------------------------------------


def _template(template: Template) -> dict[str, Json]:
    return {
        "TemplateName": template.name,
        "Schema": template.schema,
        "Template": template.template,
        "Description": template.description,
    }


async def templates(call: Call) -> Reply:
    """Every template, by name."""
    return call.json({name: _template(template) for name, template in TEMPLATES.items()})


async def template_by_name(call: Call) -> Reply:
    """One template."""
    if not call.rest:
        raise RequestError(400, "Bad request: Missing templated policy Name")
    template = TEMPLATES.get(call.rest)
    if template is None:
        return Reply(status=404)
    return call.json(_template(template))


async def template_preview(call: Call) -> Reply:
    """The policy that a template and a name make."""
    if not call.rest:
        raise RequestError(400, "Bad request: Missing templated policy Name")
    template = TEMPLATES.get(call.rest)
    if template is None:
        reason = f'Bad request: templated policy "{call.rest}" not found'
        raise RequestError(400, reason)
    name = parse_acl.variable(call.body)
    if template.named:
        try:
            check_variable(template.name, name)
        except RequestError as error:
            raise RequestError(400, f"Bad request: {error.text}") from None
    rules = template.rules(name)
    digest = content_hash({"Rules": rules}, template.name)
    return call.json(
        {
            "ID": _synthetic_id(digest),
            "Name": f"synthetic-policy-{_synthetic_id(digest)[:8]}",
            "Description": "synthetic policy generated from templated policy: " + template.name,
            "Rules": rules,
            "Hash": digest,
            "CreateIndex": 0,
            "ModifyIndex": 0,
        }
    )


def _synthetic_id(digest: str) -> str:
    raw = digest.encode().hex()[:32]
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))


# -- what may I do -------------------------------------------------------------------------------


async def authorize(call: Call) -> Reply:
    """Whether the caller has these permissions."""
    asked = parse_acl.authorizations(call.body)
    if len(asked) > AUTHORIZATIONS_MAX:
        reason = f"Refusing to process more than {AUTHORIZATIONS_MAX} authorizations at once"
        raise RequestError(400, f"Bad request: {reason}")
    return call.json([_authorized(call, each) for each in asked])


def _authorized(call: Call, asked: dict[str, Any]) -> Json:
    resource, access = asked.get("resource", ""), asked.get("access", "")
    name = asked.get("segment", "")
    if resource not in RESOURCES:
        raise RequestError(400, f'Bad request: Invalid ACL resource requested: "{resource}"')
    verb = VERBS.get(access)
    below = resource == "key" and access == "write-prefix"
    if not below and (verb is None or (access == "list" and resource != "key")):
        raise RequestError(
            400, f"Bad request: Invalid access level for {resource} resource: {access}"
        )
    scalar = resource not in (*NAMED, "intention")
    need = Need(resource, verb or READ, "" if scalar else name, below=below)
    shown: dict[str, Json] = {"Resource": resource}
    if name:
        shown["Segment"] = name
    return shown | {"Access": access, "Allow": need.met(call.caller.authorizer)}
