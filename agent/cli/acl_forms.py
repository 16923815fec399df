"""How the objects of access control look on a terminal. Pure; scripts read the labels."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


def policy(item: Item, *, meta: bool) -> str:
    """A policy with its rules."""
    lines = [
        _line("ID", item.get("ID")),
        _line("Name", item.get("Name")),
        _line("Description", item.get("Description")),
        _line("Datacenters", ", ".join(item.get("Datacenters") or ())),
        *(_meta(item, 14) if meta else ()),
        "Rules:",
    ]
    return "\n".join(lines) + "\n" + str(item.get("Rules") or "")


def policies(items: Iterable[Item], *, meta: bool) -> str:
    """Policies by name, without rules."""
    return "".join(
        _entry(
            item.get("Name"),
            _line("ID", item.get("ID")),
            _line("Description", item.get("Description")),
            _line("Datacenters", ", ".join(item.get("Datacenters") or ())),
            *(_meta(item, 14) if meta else ()),
        )
        for item in items
    )


def role(item: Item, *, meta: bool) -> str:
    """A role with what it links."""
    return _block(
        _line("ID", item.get("ID")),
        _line("Name", item.get("Name")),
        _line("Description", item.get("Description")),
        *(_meta(item, 14) if meta else ()),
        *_links(item),
    )


def roles(items: Iterable[Item], *, meta: bool) -> str:
    """Roles by name."""
    return "".join(
        _entry(
            item.get("Name"),
            _line("ID", item.get("ID")),
            _line("Description", item.get("Description")),
            *(_meta(item, 14) if meta else ()),
            *_links(item),
        )
        for item in items
    )


def token(item: Item, *, meta: bool, listed: bool = False) -> str:
    """A token; ``listed`` says also whether it is of the old kind."""
    lines = [
        _line("AccessorID", item.get("AccessorID"), 18),
        _line("SecretID", item.get("SecretID"), 18),
        _line("Description", item.get("Description"), 18),
        _line("Local", _word(item.get("Local")), 18),
    ]
    if item.get("AuthMethod"):
        lines.append(_line("Auth Method", item["AuthMethod"], 18))
    lines.append(_line("Create Time", go_time(item.get("CreateTime")), 18))
    if item.get("ExpirationTime"):
        lines.append(_line("Expiration Time", go_time(item["ExpirationTime"]), 18))
    if listed:
        lines.append(_line("Legacy", _word(item.get("Legacy")), 18))
    return _block(*lines, *(_meta(item, 18) if meta else ()), *_links(item))


def tokens(items: Iterable[Item], *, meta: bool) -> str:
    """Tokens, a blank line between."""
    return "\n".join(token(item, meta=meta, listed=True) for item in items)


def method(item: Item, *, meta: bool) -> str:
    """An auth method with its configuration."""
    lines = [_line("Name", item.get("Name"), 15), _line("Type", item.get("Type"), 15)]
    if item.get("DisplayName"):
        lines.append(_line("DisplayName", item["DisplayName"], 15))
    lines.append(_line("Description", item.get("Description"), 15))
    lines += [
        _line(name, item[name], 15) for name in ("MaxTokenTTL", "TokenLocality") if item.get(name)
    ]
    if meta:
        lines += _indexes(item, 15)
    config = json.dumps(item.get("Config"), indent=2, sort_keys=True, ensure_ascii=False)
    return "\n".join([*lines, "Config:", config])


def methods(items: Iterable[Item], *, meta: bool) -> str:
    """Auth methods by name, without configuration."""
    return "".join(
        _entry(
            item.get("Name"),
            _line("Type", item.get("Type")),
            *([_line("DisplayName", item["DisplayName"])] if item.get("DisplayName") else ()),
            _line("Description", item.get("Description")),
            *(_indexes(item, 14) if meta else ()),
        )
        for item in items
    )


def _rule_lines(item: Item, meta: bool) -> list[str]:
    names = ("AuthMethod", "Description", "BindType", "BindName")
    lines = [_line(name, item.get(name)) for name in names]
    if item.get("BindVars"):
        lines.append("BindVars:")
        lines += [f"   - {name}: {value}" for name, value in sorted(item["BindVars"].items())]
    lines.append(_line("Selector", item.get("Selector")))
    return lines + (_indexes(item, 14) if meta else [])


def binding_rule(item: Item, *, meta: bool) -> str:
    """A binding rule."""
    return _block(_line("ID", item.get("ID")), *_rule_lines(item, meta))


def binding_rules(items: Iterable[Item], *, meta: bool) -> str:
    """Binding rules by id."""
    return "".join(_entry(item.get("ID"), *_rule_lines(item, meta)) for item in items)


def template(item: Item, *, meta: bool) -> str:
    """A templated policy: what it is for, what it wants filled in, how it is used."""
    name = str(item.get("TemplateName") or "")
    wants_name = "{{.Name}}" in str(item.get("Template") or "")
    usage = f"consul acl token create -templated-policy {name}"
    lines = [
        _line("Name", name, 17),
        _line("Description", item.get("Description"), 17),
        "Input variables:" + ("" if wants_name else " None"),
        *(["\tName: String - Required"] if wants_name else ()),
        "Example usage:",
        f"\t{usage}{' -var name:api' if wants_name else ''}",
    ]
    if meta:
        lines += ["Schema:", str(item.get("Schema") or ""), "Raw Template:",
                  str(item.get("Template") or "").strip("\n")]  # fmt: skip
    return _block(*lines)


def as_json(value: Any) -> str:
    """JSON as these commands print it."""
    return json.dumps(value, indent=4, ensure_ascii=False)


#: Shows one thing, or several.
Form = Callable[..., str]


def go_time(text: Any) -> str:
    """A time as Go prints it; what is none stays as it is."""
    match = _RFC3339.fullmatch(str(text or ""))
    if match is None:
        return str(text or "")
    day, clock, fraction, zone = match.groups()
    fraction = (fraction or "").rstrip("0").rstrip(".")
    offset = "+0000 UTC" if zone == "Z" else f"{zone.replace(':', '')} {zone.replace(':', '')}"
    return f"{day} {clock}{fraction} {offset}"


def _line(label: str, value: Any, width: int = 14) -> str:
    return f"{label + ':':<{width}}{'' if value is None else value}"


def _word(value: Any) -> str:
    return "true" if value else "false"


def _meta(item: Item, width: int) -> list[str]:
    try:
        shown = base64.b64decode(item.get("Hash") or "").hex()
    except (binascii.Error, ValueError):
        shown = str(item.get("Hash"))
    return [_line("Hash", shown, width), *_indexes(item, width)]


def _indexes(item: Item, width: int) -> list[str]:
    return [
        _line("Create Index", item.get("CreateIndex"), width),
        _line("Modify Index", item.get("ModifyIndex"), width),
    ]


def _links(item: Item) -> list[str]:
    lines: list[str] = []
    for title, name in (("Policies", "Policies"), ("Roles", "Roles")):
        lines += _titled(title, [f"{x.get('ID')} - {x.get('Name')}" for x in item.get(name) or ()])
    lines += _titled(
        "Service Identities",
        [
            f"{x.get('ServiceName')} (Datacenters: {', '.join(x.get('Datacenters') or ['all'])})"
            for x in item.get("ServiceIdentities") or ()
        ],
    )
    lines += _titled(
        "Node Identities",
        [
            f"{x.get('NodeName')} (Datacenter: {x.get('Datacenter')})"
            for x in item.get("NodeIdentities") or ()
        ],
    )
    for each in item.get("TemplatedPolicies") or ():
        lines += _titled("" if "Templated Policies:" in lines else "Templated Policies", [
            str(each.get("TemplateName")),
            *(f"   Name: {v}" for v in [(each.get("TemplateVariables") or {}).get("name")] if v),
            f"   Datacenters: {', '.join(each.get('Datacenters') or ['all'])}",
        ])  # fmt: skip
    return lines


def _titled(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    return [*([f"{title}:"] if title else ()), *(f"   {item}" for item in items)]


def _block(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _entry(name: Any, *lines: str) -> str:
    return f"{name}:\n" + "".join(f"   {line}\n" for line in lines)
