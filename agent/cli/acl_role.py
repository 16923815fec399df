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
    UsageError,
    id_of,
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
)
from agent.cli.acl_kinds import ROLE
from agent.cli.client import ClientError
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
    try:
        role |= _some(_given(call))
        found = put(call.client(), "/v1/acl/role", role)
    except UsageError as error:
        return call.fail(str(error))
    except ClientError as error:
        return call.fail(f"Failed to create new role: {error}")
    return show(call, found, forms.role)


def _read(call: Call) -> int:
    given, name = call.flags.text("id"), call.flags.text("name")
    if not given and not name:
        return call.fail("Must specify either the -id or -name parameters")
    client = call.client()
    if given:
        try:
            given = id_of(client, "role", given)
        except ClientError as error:
            return call.fail(f"Error determining role ID: {error}")
    path = f"/v1/acl/role/{given}" if given else f"/v1/acl/role/name/{part(name)}"
    try:
        found = read_or_none(client, path)
    except ClientError as error:
        return call.fail(f'Error reading role "{given or name}": {error}')
    if found is None:
        what = f'ID "{given}"' if given else f'name "{name}"'
        return call.fail(f"Role not found with {what}")
    return show(call, found, forms.role)


def _update(call: Call) -> int:
    flags = call.flags
    if not flags.text("id"):
        return call.fail("Cannot update a role without specifying the -id parameter")
    client = call.client()
    try:
        wanted = id_of(client, "role", flags.text("id"))
    except ClientError as error:
        return call.fail(f"Error determining role ID: {error}")
    try:
        held = read_or_none(client, f"/v1/acl/role/{wanted}")
    except ClientError as error:
        return call.fail(f"Error when retrieving current role: {error}")
    if held is None:
        return call.fail(f'Role not found with ID "{wanted}"')
    try:
        given = _given(call)
    except UsageError as error:
        return call.fail(str(error))
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
    try:
        found = put(client, f"/v1/acl/role/{wanted}", role | _some(given))
    except ClientError as error:
        return call.fail(f'Error updating role "{wanted}": {error}')
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
