"""`acl token`: who may do something."""

from __future__ import annotations

from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    DESCRIPTION,
    FORMAT,
    LINK_FLAGS,
    META,
    doing,
    linked,
    merged,
    merged_links,
    misused,
    nodes_of,
    put,
    services_of,
    show,
    templates_of,
    told,
)
from agent.cli.acl_kinds import TOKEN
from agent.cli.client import Client
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_IDS = (
    Flag("id", "Accessor id of the token, or its beginning."),
    Flag("accessor-id", "The same under its newer name."),
)
_ROLES = (
    Flag("role-id", "Id of a role to link, or its beginning; repeatable.", Kind.LIST),
    Flag("role-name", "Name of a role to link; repeatable.", Kind.LIST),
)
_LINKS = (*LINK_FLAGS, *_ROLES)


@told
def _create(call: Call) -> int:
    flags = call.flags
    if not any(flags[each.name] for each in _LINKS if each.name != "var"):
        return call.fail(
            "Cannot create a token without specifying -policy-name, -policy-id, -role-name,"
            " -role-id, -service-identity, or -node-identity at least once"
        )
    token: dict[str, Any] = {
        "Description": flags.text("description"),
        "Local": flags["local"],
        "AccessorID": flags.text("accessor"),
        "SecretID": flags.text("secret"),
    }
    if flags.was_given("expires-ttl"):
        token["ExpirationTTL"] = flags.text("expires-ttl")
    client = call.client()
    with doing("Failed to create new token"):
        token["ServiceIdentities"] = services_of(flags["service-identity"])
        token["NodeIdentities"] = nodes_of(flags["node-identity"])
        token["TemplatedPolicies"] = templates_of(call)
        token["Policies"] = linked(call, client, "policy")
        token["Roles"] = linked(call, client, "role")
        found = put(client, "/v1/acl/token", {k: v for k, v in token.items() if v})
    return show(call, found, forms.token)


@told
def _read(call: Call) -> int:
    client = call.client()
    if call.flags["self"]:
        with doing("Error reading token"):
            found = client.read("/v1/acl/token/self")
        return show(call, found, forms.token)
    if not TOKEN.given(call):
        return call.fail("Must specify the -id parameter")
    wanted = TOKEN.wanted(call, client)
    with doing(f'Error reading token "{wanted}"'):
        found = client.read(f"/v1/acl/token/{wanted}")
    return show(call, found, forms.token)


@told
def _update(call: Call) -> int:
    if not TOKEN.given(call):
        return call.fail("Cannot update a token without specifying the -id parameter")
    if call.flags["upgrade-legacy"]:
        return call.fail("-upgrade-legacy is for tokens of the old kind, and there are none")
    client = call.client()
    wanted = TOKEN.wanted(call, client)
    with doing("Error when retrieving current token"):
        token = client.read(f"/v1/acl/token/{wanted}")
    with doing(f"Failed to update token {wanted}"):
        _change(call, client, token)
        found = put(client, f"/v1/acl/token/{wanted}", token)
    return show(call, found, forms.token)


def _change(call: Call, client: Client, token: dict[str, Any]) -> None:
    """What the flags say; a list without its merge flag is replaced, also by nothing."""
    flags = call.flags
    services = services_of(flags["service-identity"])
    nodes = nodes_of(flags["node-identity"])
    templates = templates_of(call)
    if flags.text("description"):
        token["Description"] = flags.text("description")
    policies, roles = linked(call, client, "policy"), linked(call, client, "role")
    if flags["merge-policies"]:
        policies = merged_links(token.get("Policies"), policies)
    if flags["merge-roles"]:
        # As in the reference, whose servers are then asked for a role of that name.
        roles = [{"Name": link.get("ID") or link["Name"]} if not _held(token, link) else link
                 for link in roles]  # fmt: skip
        roles = merged_links(token.get("Roles"), roles)
    if flags["merge-service-identities"]:
        services = merged(token.get("ServiceIdentities"), services, "ServiceName")
    if flags["merge-node-identities"]:
        nodes = merged(token.get("NodeIdentities"), nodes, "NodeName", "Datacenter")
    if flags["merge-templated-policies"]:
        held = token.get("TemplatedPolicies")
        templates = merged(held, templates, "TemplateName", "TemplateVariables")
    token |= {
        "Policies": policies,
        "Roles": roles,
        "ServiceIdentities": services,
        "NodeIdentities": nodes,
        "TemplatedPolicies": templates,
    }


def _held(token: dict[str, Any], link: dict[str, str]) -> bool:
    held = token.get("Roles") or ()
    return any(all(each.get(key) == link[key] for key in link) for each in held)


@told
def _clone(call: Call) -> int:
    if not TOKEN.given(call):
        return misused(
            call,
            "Cannot clone a token without specifying the -id parameter",
            COMMANDS["acl", "token", "clone"],
        )
    client = call.client()
    wanted = TOKEN.wanted(call, client)
    with doing("Error cloning token"):
        body = {"Description": call.flags.text("description")}
        found = put(client, f"/v1/acl/token/{wanted}/clone", body)
    return show(call, found, forms.token)


def _merge(what: str) -> Flag:
    return Flag(f"merge-{what}", "Add to those that are there instead of replacing.", Kind.BOOL)


COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "token", "create"): Command(
        usage="acl token create [options]",
        help="Makes a token of policies, roles and identities.",
        run=_create,
        server=True,
        namespace=True,
        flags=(
            Flag("accessor", "Accessor id to give it; made up by default."),
            Flag("secret", "Secret to give it; made up by default."),
            DESCRIPTION,
            Flag("local", "It holds in this datacenter only.", Kind.BOOL),
            Flag("expires-ttl", "How long it holds.", Kind.DURATION),
            *_LINKS,
            FORMAT,
            META,
        ),
    ),
    ("acl", "token", "read"): Command(
        usage="acl token read [-id ID | -self] [options]",
        help="Shows a token.",
        run=_read,
        server=True,
        namespace=True,
        flags=(
            *_IDS,
            Flag("self", "The token of this very request.", Kind.BOOL),
            FORMAT,
            META,
        ),
    ),
    ("acl", "token", "update"): Command(
        usage="acl token update -id ID [options]",
        help="Changes a token. Each list is replaced by what is given, also by nothing, unless\n"
        "its merge flag is given.",
        run=_update,
        server=True,
        namespace=True,
        flags=(
            *_IDS,
            DESCRIPTION,
            *_LINKS,
            *(
                _merge(what)
                for what in (
                    "policies", "roles", "service-identities", "node-identities",
                    "templated-policies",
                )
            ),
            Flag("upgrade-legacy", "Tokens of the old kind do not exist here.", Kind.BOOL),
            FORMAT,
            META,
        ),
    ),
    ("acl", "token", "clone"): Command(
        usage="acl token clone -id ID [options]",
        help="Makes a token with the same rights and a secret of its own.",
        run=_clone,
        server=True,
        namespace=True,
        flags=(*_IDS, DESCRIPTION, FORMAT),
    ),
    ("acl", "token", "delete"): Command(
        usage="acl token delete -id ID",
        help="Deletes a token; who shows it gets nothing any more.",
        run=TOKEN.delete,
        server=True,
        namespace=True,
        flags=_IDS,
    ),
    ("acl", "token", "list"): Command(
        usage="acl token list [options]",
        help="Lists the tokens.",
        run=TOKEN.list_all,
        server=True,
        namespace=True,
        flags=(FORMAT, META),
    ),
}  # fmt: skip
