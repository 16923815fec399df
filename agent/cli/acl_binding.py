"""`acl binding-rule`: what proved identities get."""

from __future__ import annotations

from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    DESCRIPTION,
    FORMAT,
    META,
    NO_MERGE,
    doing,
    misused,
    put,
    read_or_none,
    show,
    told,
)
from agent.cli.acl_kinds import RULE
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_ID = Flag("id", "Id of the rule, or its beginning.")
_METHOD = Flag("method", "Name of the auth method.")
_BINDING = (
    Flag(
        "bind-type",
        "What is bound: service, node, role, policy or templated-policy.",
        default="service",
    ),
    Flag("bind-name", "Its name; ${value.NAME} is filled in."),
    Flag("bind-vars", "Variable of a templated policy, name=VALUE; repeatable.", Kind.MAP),
    Flag("selector", "Whom it is for; everybody by default."),
    DESCRIPTION,
)


def _given(call: Call) -> dict[str, Any]:
    flags = call.flags
    found: dict[str, Any] = {
        "Description": flags.text("description"),
        "BindType": flags.text("bind-type"),
        "BindName": flags.text("bind-name"),
        "Selector": flags.text("selector"),
    }
    if flags["bind-vars"]:
        found["BindVars"] = flags["bind-vars"]
    return found


@told
def _create(call: Call) -> int:
    command = COMMANDS["acl", "binding-rule", "create"]
    for name in ("method", "bind-type", "bind-name"):
        if not call.flags.text(name):
            return misused(call, f"Missing required '-{name}' flag", command)
    rule = {"AuthMethod": call.flags.text("method"), **_given(call)}
    client = call.client()
    with doing("Failed to create new binding rule"):
        found = put(client, "/v1/acl/binding-rule", rule)
    return show(call, found, forms.binding_rule)


@told
def _read(call: Call) -> int:
    if not RULE.given(call):
        return call.fail(RULE.missing)
    client = call.client()
    wanted = RULE.wanted(call, client)
    with doing(f'Error reading binding rule "{wanted}"'):
        found = read_or_none(client, f"/v1/acl/binding-rule/{wanted}")
    if found is None:
        return call.fail(f'Binding rule not found with ID "{wanted}"')
    return show(call, found, forms.binding_rule)


@told
def _update(call: Call) -> int:
    flags, command = call.flags, COMMANDS["acl", "binding-rule", "update"]
    if not RULE.given(call):
        return call.fail("Cannot update a binding rule without specifying the -id parameter")
    client = call.client()
    wanted = RULE.wanted(call, client)
    with doing("Error when retrieving current binding rule"):
        held = read_or_none(client, f"/v1/acl/binding-rule/{wanted}")
    if held is None:
        return call.fail(f'Binding rule not found with ID "{wanted}"')
    given = _given(call)
    if flags["no-merge"]:
        for name in ("bind-type", "bind-name"):
            if not flags.text(name):
                return misused(call, f"Missing required '-{name}' flag", command)
        rule = {"ID": wanted, "AuthMethod": held["AuthMethod"], **given}
    else:
        rule = held | {name: value for name, value in given.items() if value}
    with doing(f'Error updating binding rule "{wanted}"'):
        found = put(client, f"/v1/acl/binding-rule/{wanted}", rule)
    return show(call, found, forms.binding_rule)


def _list(call: Call) -> int:
    method = call.flags.text("method")
    return RULE.list_all(call, [("authmethod", method)] if method else [])


COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "binding-rule", "create"): Command(
        usage="acl binding-rule create -method NAME -bind-name NAME [options]",
        help="Makes a rule: whoever an auth method proves, and its selector fits, gets this.",
        run=_create,
        server=True,
        namespace=True,
        flags=(_METHOD, *_BINDING, FORMAT, META),
    ),
    ("acl", "binding-rule", "read"): Command(
        usage="acl binding-rule read -id ID [options]",
        help="Shows a binding rule.",
        run=_read,
        server=True,
        namespace=True,
        flags=(_ID, FORMAT, META),
    ),
    ("acl", "binding-rule", "update"): Command(
        usage="acl binding-rule update -id ID [options]",
        help="Changes a binding rule. What is not given stays as it is, unless -no-merge is; the\n"
        "type goes back to service when it is not given.",
        run=_update,
        server=True,
        namespace=True,
        flags=(_ID, *_BINDING, NO_MERGE, FORMAT, META),
    ),
    ("acl", "binding-rule", "delete"): Command(
        usage="acl binding-rule delete -id ID",
        help="Deletes a binding rule. Tokens that were given out stay.",
        run=RULE.delete,
        server=True,
        namespace=True,
        flags=(_ID,),
    ),
    ("acl", "binding-rule", "list"): Command(
        usage="acl binding-rule list [options]",
        help="Lists the binding rules.",
        run=_list,
        server=True,
        namespace=True,
        flags=(_METHOD, FORMAT, META),
    ),
}
