"""What is there without anybody writing it: built-in policies, identities, templated policies.

Identities and templated policies are rules with names filled in; they hold in the datacenters that
they name, everywhere when they name none. The rights are Consul's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Ids that no other policy, role or token may have begin so.
RESERVED_PREFIX = "00000000-0000-0000-0000-0000000000"
GLOBAL_MANAGEMENT_ID = "00000000-0000-0000-0000-000000000001"
GLOBAL_READ_ONLY_ID = "00000000-0000-0000-0000-000000000002"
#: Accessor of the token that those have who show none, and what stands for its secret.
ANONYMOUS_ID = "00000000-0000-0000-0000-000000000002"
ANONYMOUS_SECRET = "anonymous"  # noqa: S105  # a well-known word

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
SERVICE_NAME_MAX = 256


def _all(level: str, *, mesh: bool) -> str:
    """Every resource at one level, as clients know the text."""
    stanzas: list[str] = []
    for kind in ("acl", "agent", "event", "key", "keyring", "node", "operator", "mesh", "peering",
                 "query", "service", "session"):  # fmt: skip
        if kind in {"mesh", "peering"} and not mesh:
            continue
        if kind in {"acl", "keyring", "operator", "mesh", "peering"}:
            stanzas.append(f'{kind} = "{level}"')
            continue
        inner = f'\tpolicy = "{level}"\n'
        if kind == "service":
            inner += f'\tintentions = "{level}"\n'
        stanzas.append(f'{kind}_prefix "" {{\n{inner}}}')
    return "\n" + "\n".join(stanzas)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinPolicy:
    """A policy that exists in every cluster."""

    id: str
    name: str
    description: str
    rules: str


BUILTIN_POLICIES: Mapping[str, BuiltinPolicy] = {
    policy.id: policy
    for policy in (
        BuiltinPolicy(
            id=GLOBAL_MANAGEMENT_ID,
            name="global-management",
            description="Builtin Policy that grants unlimited access",
            # The recorded text; operator = "write" stands for mesh and peering as well.
            rules=_all("write", mesh=False),
        ),
        BuiltinPolicy(
            id=GLOBAL_READ_ONLY_ID,
            name="builtin/global-read-only",
            description="Builtin Policy that grants unlimited read-only access to all components",
            rules=_all("read", mesh=True),
        ),
    )
}


def is_name(name: str) -> bool:
    """Whether a policy or role may be called so."""
    return _NAME.fullmatch(name) is not None


def is_service_name(name: str) -> bool:
    """Whether a service identity may name it."""
    return len(name) <= SERVICE_NAME_MAX and _SERVICE_NAME.fullmatch(name) is not None


def service_identity_rules(name: str) -> str:
    """A service and its sidecar, and what these have to see."""
    return (
        f'service "{name}" {{\n\tpolicy = "write"\n}}\n'
        f'service "{name}-sidecar-proxy" {{\n\tpolicy = "write"\n}}\n'
        'service_prefix "" {\n\tpolicy = "read"\n}\n'
        'node_prefix "" {\n\tpolicy = "read"\n}'
    )


def node_identity_rules(name: str) -> str:
    """An agent's own node, and the services it may have to watch."""
    return f'node "{name}" {{\n\tpolicy = "write"\n}}\nservice_prefix "" {{\n\tpolicy = "read"\n}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A policy with a place for a name; ``named`` says whether it has one."""

    name: str
    description: str
    template: str
    named: bool = True

    @property
    def schema(self) -> str:
        """What variables it needs, as JSON Schema; "" for none."""
        return _NAME_SCHEMA if self.named else ""

    def rules(self, name: str) -> str:
        """With the name filled in."""
        return self.template.replace("{{.Name}}", name)


_NAME_SCHEMA = (
    '{\n\t"type": "object",\n\t"properties": {\n\t\t"name": { "type": "string", "$ref": '
    '"#/definitions/min-length-one" }\n\t},\n\t"required": ["name"],\n\t"definitions": {\n\t\t'
    '"min-length-one": {\n\t\t\t\t"type": "string",\n\t\t\t\t"minLength": 1\n\t\t}\n\t}\n}'
)
_PREFIX_READ = '{kind}_prefix "" {{\n\tpolicy = "read"\n}}'


def _reads(*kinds: str) -> str:
    return "\n".join(_PREFIX_READ.format(kind=kind) for kind in kinds)


TEMPLATES: Mapping[str, Template] = {
    template.name: template
    for template in (
        Template(
            name="builtin/api-gateway",
            description="Gives the token or role permissions for a Consul api gateway",
            template='mesh = "read"\n'
            + _reads("node", "service")
            + '\nservice "{{.Name}}" {\n\tpolicy = "write"\n}',
        ),
        Template(
            name="builtin/dns",
            description="Gives the token or role permissions for the Consul DNS to query services "
            "in the network.",
            template="\n" + _reads("node", "service", "query"),
            named=False,
        ),
        Template(
            name="builtin/node",
            description="Gives the token or role permissions for a register an agent/node into "
            "the catalog. A node is typically a consul agent but can also be a physical server, "
            "cloud instance or a container.",
            template="\n" + node_identity_rules("{{.Name}}"),
        ),
        Template(
            name="builtin/nomad-client",
            description="Gives the token or role permissions required for integration with a "
            "nomad client.",
            template='agent "{{.Name}}" {\n\tpolicy = "read"\n}\n'
            'node "{{.Name}}" {\n\tpolicy = "write"\n}\n'
            'service_prefix "" {\n\tpolicy = "write"\n}',
        ),
        Template(
            name="builtin/nomad-server",
            description="Gives the token or role permissions required for integration with a "
            "nomad server.",
            template='\nacl = "write"\n'
            + _reads("agent", "node")
            + '\nservice_prefix "" {\n\tpolicy = "write"\n}',
            named=False,
        ),
        Template(
            name="builtin/service",
            description="Gives the token or role permissions to register a service and discover "
            "services in the Consul catalog. It also gives the specified service's sidecar proxy "
            "the permission to discover and route traffic to other services.",
            template="\n" + service_identity_rules("{{.Name}}"),
        ),
        Template(
            name="builtin/workload-identity",
            description="Gives the token or role permissions for a specific workload identity.",
            template='identity "{{.Name}}" {\n\tpolicy = "write"\n}',
        ),
    )
}
