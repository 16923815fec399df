"""`acl role`: named sets of policies and identities."""

from __future__ import annotations

from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    DESCRIPTION,
    FORMAT,
    LINK_FLAGS,
    META,
    NO_MERGE,
    doing,
    linked,
    merged,
    merged_links,
    misused,
    nodes_of,
    part,
    put,
    read_or_none,
    services_of,
    show,
    templates_of,
    told,
)
from agent.cli.acl_kinds import ROLE
from agent.cli.command import Call, Command
from agent.cli.flags import Flag

_ID = Flag("id", "Id of the role, or its beginning.")
_NAME = Flag("name", "Name of the role.")


def _given(call: Call) -> dict[str, Any]:
    """What the flags link, by field. Raises UsageError, SetupError."""
    services = services_of(call.flags["service-identity"])
    nodes = nodes_of(call.flags["node-identity"])
    templates = templates_of(call)
    return {
        "Policies": linked(call, call.client(), "policy"),
        "ServiceIdentities": services,
        "NodeIdentities": nodes,
        "TemplatedPolicies": templates,
    }


def _some(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


@told
def _create(call: Call) -> int:
    flags, command = call.flags, COMMANDS["acl", "role", "create"]
    if not flags.text("name"):
        return misused(call, "Missing require '-name' flag", command)
    if not any(flags[each.name] for each in LINK_FLAGS if each.name != "var"):
        return misused(
            call,
            "Cannot create a role without specifying -policy-name, -policy-id, -service-identity,"
            " or -node-identity at least once",
            command,
        )
    role = {"Name": flags.text("name"), "Description": flags.text("description")}
    with doing("Failed to create new role"):
        role |= _some(_given(call))
        found = put(call.client(), "/v1/acl/role", role)
    return show(call, found, forms.role)


@told
def _read(call: Call) -> int:
    given, name = call.flags.text("id"), call.flags.text("name")
    if not given and not name:
        return call.fail("Must specify either the -id or -name parameters")
    client = call.client()
    given = ROLE.wanted(call, client) if given else ""
    path = f"/v1/acl/role/{given}" if given else f"/v1/acl/role/name/{part(name)}"
    with doing(f'Error reading role "{given or name}"'):
        found = read_or_none(client, path)
    if found is None:
        what = f'ID "{given}"' if given else f'name "{name}"'
        return call.fail(f"Role not found with {what}")
    return show(call, found, forms.role)


@told
def _update(call: Call) -> int:
    flags = call.flags
    if not flags.text("id"):
        return call.fail("Cannot update a role without specifying the -id parameter")
    client = call.client()
    wanted = ROLE.wanted(call, client)
    with doing("Error when retrieving current role"):
        held = read_or_none(client, f"/v1/acl/role/{wanted}")
    if held is None:
        return call.fail(f'Role not found with ID "{wanted}"')
    given = _given(call)
    role: dict[str, Any] = {
        "ID": wanted, "Name": flags.text("name"), "Description": flags.text("description"),
    }  # fmt: skip
    if not flags["no-merge"]:
        role["Name"] = role["Name"] or held["Name"]
        role["Description"] = role["Description"] or held.get("Description", "")
        given = {
            "Policies": merged_links(held.get("Policies"), given["Policies"]),
            "ServiceIdentities": merged(
                held.get("ServiceIdentities"), given["ServiceIdentities"], "ServiceName"
            ),
            "NodeIdentities": merged(
                held.get("NodeIdentities"), given["NodeIdentities"], "NodeName", "Datacenter"
            ),
            "TemplatedPolicies": merged(
                held.get("TemplatedPolicies"),
                given["TemplatedPolicies"],
                "TemplateName",
                "TemplateVariables",
            ),
        }
    with doing(f'Error updating role "{wanted}"'):
        found = put(client, f"/v1/acl/role/{wanted}", role | _some(given))
    return show(call, found, forms.role)


COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "role", "create"): Command(
        usage="acl role create -name NAME [options]",
        help="Makes a role: a set of policies and identities that tokens can link.",
        run=_create,
        server=True,
        namespace=True,
        flags=(_NAME, DESCRIPTION, *LINK_FLAGS, FORMAT, META),
    ),
    ("acl", "role", "read"): Command(
        usage="acl role read [-id ID | -name NAME] [options]",
        help="Shows a role.",
        run=_read,
        server=True,
        namespace=True,
        flags=(_ID, _NAME, FORMAT, META),
    ),
    ("acl", "role", "update"): Command(
        usage="acl role update -id ID [options]",
        help="Changes a role. What is given is added, unless -no-merge replaces the whole.",
        run=_update,
        server=True,
        namespace=True,
        flags=(_ID, _NAME, DESCRIPTION, *LINK_FLAGS, NO_MERGE, FORMAT, META),
    ),
    ("acl", "role", "delete"): Command(
        usage="acl role delete [-id ID | -name NAME]",
        help="Deletes a role. Tokens lose what it gave.",
        run=ROLE.delete,
        server=True,
        namespace=True,
        flags=(_ID, _NAME),
    ),
    ("acl", "role", "list"): Command(
        usage="acl role list [options]",
        help="Lists the roles.",
        run=ROLE.list_all,
        server=True,
        namespace=True,
        flags=(FORMAT, META),
    ),
}
