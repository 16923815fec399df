"""`acl policy`: named sets of rules."""

from __future__ import annotations

from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    DESCRIPTION,
    FORMAT,
    META,
    NO_MERGE,
    UsageError,
    data,
    doing,
    misused,
    put,
    show,
    told,
)
from agent.cli.acl_kinds import POLICY
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_ID = Flag("id", "Id of the policy, or its beginning.")
_NAME = Flag("name", "Name of the policy.")
_RULES = Flag("rules", "The rules: text, @file, or - for standard input.")
_DATACENTER = Flag("valid-datacenter", "Datacenter it holds in; repeatable.", Kind.LIST)


def _rules(call: Call) -> str:
    try:
        return data(call, call.flags.text("rules"))
    except UsageError as error:
        raise UsageError(f"Error loading rules: {error}") from None


@told
def _create(call: Call) -> int:
    flags = call.flags
    if not flags.text("name"):
        return misused(call, "Missing require '-name' flag", COMMANDS["acl", "policy", "create"])
    if flags.text("from-token"):
        if flags.text("rules"):
            return call.fail("Cannot specify both -rules and -from-token")
        return call.fail("-from-token reads tokens of the old kind, and there are none")
    policy: dict[str, Any] = {
        "Name": flags.text("name"),
        "Description": flags.text("description"),
        "Rules": _rules(call),
    }
    if flags["valid-datacenter"]:
        policy["Datacenters"] = flags["valid-datacenter"]
    client = call.client()
    with doing("Failed to create new policy"):
        found = put(client, "/v1/acl/policy", policy)
    return show(call, POLICY.whole(found), forms.policy)


@told
def _read(call: Call) -> int:
    if not POLICY.given(call):
        return call.fail("Must specify either the -id or -name parameters")
    client = call.client()
    wanted = POLICY.wanted(call, client)
    with doing(f'Error reading policy "{wanted}"'):
        found = client.read(f"/v1/acl/policy/{wanted}")
    return show(call, POLICY.whole(found), forms.policy)


@told
def _update(call: Call) -> int:
    flags = call.flags
    if not POLICY.given(call):
        return call.fail("Cannot update a policy without specifying the -id or -name parameter")
    client = call.client()
    wanted = POLICY.wanted(call, client)
    given = {
        "Name": flags.text("name"),
        "Description": flags.text("description"),
        "Rules": _rules(call),
    }
    policy: dict[str, Any] = {"ID": wanted, **given}
    if not flags["no-merge"]:
        with doing(f'Error reading policy "{wanted}"'):
            held = client.read(f"/v1/acl/policy/{wanted}")
        policy = {name: held.get(name, "") for name in ("ID", "Name", "Description", "Rules")}
        policy |= {name: given[name] for name in given if flags.was_given(name.lower())}
        if held.get("Datacenters"):
            policy["Datacenters"] = held["Datacenters"]
    if flags["valid-datacenter"]:
        policy["Datacenters"] = flags["valid-datacenter"]
    with doing(f'Error updating policy "{wanted}"'):
        found = put(client, f"/v1/acl/policy/{wanted}", policy)
    return show(call, POLICY.whole(found), forms.policy)


COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "policy", "create"): Command(
        usage="acl policy create -name NAME [options]",
        help="Makes a policy of rules, which tokens and roles can link.",
        run=_create,
        server=True,
        namespace=True,
        flags=(
            _NAME,
            DESCRIPTION,
            _RULES,
            _DATACENTER,
            Flag("from-token", "Tokens of the old kind do not exist here; refused."),
            Flag("token-secret", "Goes with -from-token.", Kind.BOOL),
            FORMAT,
            META,
        ),
    ),
    ("acl", "policy", "read"): Command(
        usage="acl policy read [-id ID | -name NAME] [options]",
        help="Shows a policy.",
        run=_read,
        server=True,
        namespace=True,
        flags=(_ID, _NAME, FORMAT, META),
    ),
    ("acl", "policy", "update"): Command(
        usage="acl policy update [-id ID | -name NAME] [options]",
        help="Changes a policy. What is not given stays as it is, unless -no-merge is.",
        run=_update,
        server=True,
        namespace=True,
        flags=(_ID, _NAME, DESCRIPTION, _RULES, _DATACENTER, NO_MERGE, FORMAT, META),
    ),
    ("acl", "policy", "delete"): Command(
        usage="acl policy delete [-id ID | -name NAME]",
        help="Deletes a policy. Tokens and roles lose what it gave.",
        run=POLICY.delete,
        server=True,
        namespace=True,
        flags=(_ID, _NAME),
    ),
    ("acl", "policy", "list"): Command(
        usage="acl policy list [options]",
        help="Lists the policies.",
        run=POLICY.list_all,
        server=True,
        namespace=True,
        flags=(FORMAT, META),
    ),
}
