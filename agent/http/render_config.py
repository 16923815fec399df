"""What clients see of config entries and of what they make."""

from __future__ import annotations

from raftstore.mesh_queries import GatewayService
from raftstore.records import Json


def gateway_service(value: GatewayService) -> Json:
    """A service behind a gateway; what is not set is left out."""
    optional = {
        "Port": value.port,
        "Protocol": value.protocol,
        "Hosts": list(value.hosts),
        "CAFile": value.ca_file,
        "CertFile": value.cert_file,
        "KeyFile": value.key_file,
        "SNI": value.sni,
        "FromWildcard": value.from_wildcard,
    }
    return {
        "Gateway": {"Name": value.gateway},
        "Service": {"Name": value.service},
        "GatewayKind": value.kind,
        **{name: item for name, item in optional.items() if item},
        "CreateIndex": value.create_index,
        "ModifyIndex": value.modify_index,
    }
