"""The shapes of service and check definitions in files (agent contract, sections 1 and 2).

Names and types only; what the values mean is read in `services` of this package.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


class Kind(enum.Enum):
    """The types of single values. The value is the word that type errors use."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float64"
    #: Go's duration text; never a bare number in a file.
    DURATION = "duration"
    STRINGS = "[]string"
    STRING_MAP = "map[string]string"
    #: Name -> list of strings, a single string counting as a list of one.
    STRINGS_MAP = "map[string][]string"
    DURATION_MAP = "map[string]duration"
    #: An object whose inside is nobody's business here.
    OPAQUE = "map[string]interface {}"
    OPAQUES = "[]map[string]interface {}"


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with these fields; ``many`` a list of them, ``named`` a map from names to them."""

    fields: Fields
    form: Literal["one", "many", "named"] = "one"


Fields: TypeAlias = Mapping[str, "Kind | Shape"]

STRING, BOOL, INT, DURATION = Kind.STRING, Kind.BOOL, Kind.INT, Kind.DURATION

#: Checks are the only place with other spellings; they are read as the names behind them.
CHECK_ALIASES: Mapping[str, str] = {
    "serviceid": "service_id",
    "scriptargs": "args",
    "dockercontainerid": "docker_container_id",
    "tlsskipverify": "tls_skip_verify",
    "deregistercriticalserviceafter": "deregister_critical_service_after",
}

_CHECK: dict[str, Kind | Shape] = {
    "id": STRING,
    "name": STRING,
    "notes": STRING,
    "service_id": STRING,
    "token": STRING,
    "status": STRING,
    "args": Kind.STRINGS,
    "http": STRING,
    "header": Kind.STRINGS_MAP,
    "method": STRING,
    "body": STRING,
    "disable_redirects": BOOL,
    "output_max_size": INT,
    "tcp": STRING,
    "tcp_use_tls": BOOL,
    "udp": STRING,
    "interval": DURATION,
    "docker_container_id": STRING,
    "shell": STRING,
    "grpc": STRING,
    "grpc_use_tls": BOOL,
    "h2ping": STRING,
    "h2ping_use_tls": BOOL,
    "os_service": STRING,
    "tls_server_name": STRING,
    "tls_skip_verify": BOOL,
    "alias_node": STRING,
    "alias_service": STRING,
    "timeout": DURATION,
    "ttl": DURATION,
    "success_before_passing": INT,
    "failures_before_warning": INT,
    "failures_before_critical": INT,
    "deregister_critical_service_after": DURATION,
    "namespace": STRING,
}
CHECK_FIELDS: Fields = _CHECK | {alias: _CHECK[name] for alias, name in CHECK_ALIASES.items()}

_MESH_GATEWAY = Shape({"mode": STRING})

_UPSTREAM = Shape(
    {
        "destination_type": STRING,
        "destination_namespace": STRING,
        "destination_name": STRING,
        "datacenter": STRING,
        "local_bind_address": STRING,
        "local_bind_port": INT,
        "local_bind_socket_path": STRING,
        "local_bind_socket_mode": STRING,
        "config": Kind.OPAQUE,
        "mesh_gateway": _MESH_GATEWAY,
    },
    form="many",
)

_PROXY = Shape(
    {
        "destination_service_name": STRING,
        "destination_service_id": STRING,
        "local_service_address": STRING,
        "local_service_port": INT,
        "local_service_socket_path": STRING,
        "mode": STRING,
        "config": Kind.OPAQUE,
        "upstreams": _UPSTREAM,
        "mesh_gateway": _MESH_GATEWAY,
        "expose": Shape(
            {
                "checks": BOOL,
                "paths": Shape(
                    {
                        "path": STRING,
                        "listener_port": INT,
                        "local_path_port": INT,
                        "protocol": STRING,
                    },
                    form="many",
                ),
            }
        ),
        "transparent_proxy": Shape({"outbound_listener_port": INT, "dialed_directly": BOOL}),
    }
)

_SERVICE: dict[str, Kind | Shape] = {
    "id": STRING,
    "name": STRING,
    "kind": STRING,
    "tags": Kind.STRINGS,
    "address": STRING,
    "tagged_addresses": Shape({"address": STRING, "port": INT}, form="named"),
    "port": INT,
    "ports": Shape({"name": STRING, "port": INT, "default": BOOL}, form="many"),
    "socket_path": STRING,
    "meta": Kind.STRING_MAP,
    "weights": Shape({"passing": INT, "warning": INT}),
    "enable_tag_override": BOOL,
    "token": STRING,
    "proxy": _PROXY,
    "check": Shape(CHECK_FIELDS),
    "checks": Shape(CHECK_FIELDS, form="many"),
    "namespace": STRING,
}
_SIDECAR = Shape({**_SERVICE, "connect": Shape({"native": BOOL})})
SERVICE_FIELDS: Fields = _SERVICE | {
    "connect": Shape({"native": BOOL, "sidecar_service": _SIDECAR}),
}
