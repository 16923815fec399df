"""Service identities, node identities and templated policies of tokens and roles, checked.

They are kept in the content of their token or role in the form that clients see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.acl.builtin import TEMPLATES, is_service_name
from agent.errors import RequestError
from raftstore.records import Json

#: What one token or role may have of each.
IDENTITIES_MAX = 512


def _refuse(text: str) -> RequestError:
    return RequestError(500, text)


def _bounded(items: Sequence[Any], what: str) -> None:
    if len(items) > IDENTITIES_MAX:
        raise _refuse(f"more than {IDENTITIES_MAX} {what}")


def service_identities(
    given: Sequence[Mapping[str, Any]], holder: str, *, local: bool = False
) -> list[Json]:
    """As they are kept; ``holder`` is "token" or "role". Raises RequestError."""
    _bounded(given, "service identities")
    found: dict[str, dict[str, Any]] = {}
    for each in given:
        name, datacenters = each.get("name", ""), each.get("datacenters", ())
        if not name:
            raise _refuse(f"Service identity is missing the service name field on this {holder}")
        if local and datacenters:
            raise _refuse(
                f'Service identity "{name}" cannot specify a list of datacenters on a local token'
            )
        if not is_service_name(name):
            raise _refuse(
                f'Service identity "{name}" has an invalid name. Only alphanumeric characters, '
                "'-' and '_' are allowed"
            )
        kept = found.setdefault(name, {"ServiceName": name})
        if datacenters:
            merged = [*kept.get("Datacenters", ()), *datacenters]
            kept["Datacenters"] = list(dict.fromkeys(merged))
    return [found[name] for name in sorted(found)]


def node_identities(given: Sequence[Mapping[str, Any]], holder: str) -> list[Json]:
    """The same for nodes."""
    _bounded(given, "node identities")
    found: list[Json] = []
    for each in given:
        name, datacenter = each.get("name", ""), each.get("datacenter", "")
        if not name:
            raise _refuse(f"Node identity is missing the node name field on this {holder}")
        if not datacenter:
            raise _refuse(f"Node identity is missing the datacenter field on this {holder}")
        if not is_service_name(name):
            raise _refuse(
                "Node identity has an invalid name. Only alphanumeric characters, "
                "'-' and '_' are allowed"
            )
        identity = {"NodeName": name, "Datacenter": datacenter}
        if identity not in found:
            found.append(identity)
    return found


def templated_policies(given: Sequence[Mapping[str, Any]], holder: str) -> list[Json]:
    """The same for templated policies."""
    _bounded(given, "templated policies")
    found: list[Json] = []
    for each in given:
        name = each.get("name", "")
        if not name:
            raise _refuse(f"templated policy is missing the template name field on this {holder}")
        template = TEMPLATES.get(name)
        if template is None:
            raise _refuse(f"no such ACL templated policy with Name {_quoted(name)}")
        kept: dict[str, Any] = {"TemplateName": name}
        value = each.get("variables", {}).get("name", "")
        if template.named:
            check_variable(name, value)
            kept["TemplateVariables"] = {"Name": value}
        if each.get("datacenters"):
            kept["Datacenters"] = list(each["datacenters"])
        if kept not in found:
            found.append(kept)
    return found


def shown(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Kept identities as clients see them; none of a kind shows nothing."""
    kinds = ("ServiceIdentities", "NodeIdentities")
    found: dict[str, Any] = {kind: kept[kind] for kind in kinds if kept.get(kind)}
    if kept.get("TemplatedPolicies"):
        found["TemplatedPolicies"] = [_shown_template(each) for each in kept["TemplatedPolicies"]]
    return found


def _shown_template(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Consul spells this one key in lower case, whatever was sent; it is kept as it always was."""
    variables = kept.get("TemplateVariables")
    if not variables:
        return dict(kept)
    return dict(kept) | {"TemplateVariables": {"name": variables["Name"]}}


def check_variable(template: str, value: str) -> None:
    """Refuse a name that a template cannot have: it becomes part of rules. Raises RequestError."""
    if not value:
        raise _refuse(
            f"validation error for templated policy {template}: name: String length must be "
            "greater than or equal to 1"
        )
    if not is_service_name(value):
        raise _refuse(
            f"validation error for templated policy {template}: name: Only alphanumeric "
            "characters, '-' and '_' are allowed"
        )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
