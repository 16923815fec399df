"""What a filter may select, endpoint by endpoint (table of http-api contract 1.8)."""

from __future__ import annotations

from collections.abc import Mapping

from agent.filter_kinds import BOOLEAN, INTEGER, STRING, STRING_MAP, STRINGS, Field, Kind


def _object(**fields: Field) -> Field:
    return Field(Kind.OBJECT, fields)


def _objects(**fields: Field) -> Field:
    return Field(Kind.OBJECTS, fields)


_TAGGED = Field(Kind.MAP, values=_object(Address=STRING, Port=INTEGER))
_MESH_GATEWAY = _object(Mode=STRING)
_WEIGHTS = _object(Passing=INTEGER, Warning=INTEGER)
_CONNECT = _object(Native=BOOLEAN)
_PROXY = _object(
    DestinationServiceID=STRING,
    DestinationServiceName=STRING,
    LocalServiceAddress=STRING,
    LocalServicePort=INTEGER,
    LocalServiceSocketPath=STRING,
    Mode=STRING,
    TransparentProxy=_object(OutboundListenerPort=INTEGER, DialedDirectly=BOOLEAN),
    MeshGateway=_MESH_GATEWAY,
    Expose=_object(
        Checks=BOOLEAN,
        Paths=_objects(ListenerPort=INTEGER, LocalPathPort=INTEGER, Path=STRING, Protocol=STRING),
    ),
    Upstreams=_objects(
        DestinationType=STRING,
        DestinationName=STRING,
        DestinationNamespace=STRING,
        Datacenter=STRING,
        LocalBindAddress=STRING,
        LocalBindPort=INTEGER,
        LocalBindSocketPath=STRING,
        LocalBindSocketMode=STRING,
        MeshGateway=_MESH_GATEWAY,
    ),
)

NODE = _object(
    Address=STRING,
    Datacenter=STRING,
    ID=STRING,
    Meta=STRING_MAP,
    Node=STRING,
    TaggedAddresses=STRING_MAP,
)
_PORTS = _objects(Name=STRING, Port=INTEGER, Default=BOOLEAN)
_LOCALITY = _object(Region=STRING, Zone=STRING)
SERVICE = _object(
    Address=STRING,
    Connect=_CONNECT,
    EnableTagOverride=BOOLEAN,
    ID=STRING,
    Kind=STRING,
    Locality=_LOCALITY,
    Meta=STRING_MAP,
    Port=INTEGER,
    Ports=_PORTS,
    Proxy=_PROXY,
    Service=STRING,
    SocketPath=STRING,
    TaggedAddresses=_TAGGED,
    Tags=STRINGS,
    Weights=_WEIGHTS,
)
SERVICE_NODE = _object(
    Address=STRING,
    Datacenter=STRING,
    ID=STRING,
    Node=STRING,
    NodeMeta=STRING_MAP,
    ServiceAddress=STRING,
    ServiceConnect=_CONNECT,
    ServiceEnableTagOverride=BOOLEAN,
    ServiceID=STRING,
    ServiceKind=STRING,
    ServiceMeta=STRING_MAP,
    ServiceName=STRING,
    ServiceLocality=_LOCALITY,
    ServicePort=INTEGER,
    ServicePorts=_PORTS,
    ServiceProxy=_PROXY,
    ServiceSocketPath=STRING,
    ServiceTaggedAddresses=_TAGGED,
    ServiceTags=STRINGS,
    ServiceWeights=_WEIGHTS,
    TaggedAddresses=STRING_MAP,
)
_CHECK_FIELDS: Mapping[str, Field] = {
    "CheckID": STRING,
    "Name": STRING,
    "Node": STRING,
    "Notes": STRING,
    "Output": STRING,
    "ServiceID": STRING,
    "ServiceName": STRING,
    "ServiceTags": STRINGS,
    "Status": STRING,
    "Type": STRING,
    "Interval": STRING,
    "Timeout": STRING,
    "ExposedPort": INTEGER,
    "Definition": _object(
        HTTP=STRING,
        Header=Field(Kind.MAP, values=STRINGS),
        Method=STRING,
        Body=STRING,
        TLSServerName=STRING,
        TLSSkipVerify=BOOLEAN,
        TCP=STRING,
        TCPUseTLS=BOOLEAN,
        UDP=STRING,
        OSService=STRING,
        GRPC=STRING,
        GRPCUseTLS=BOOLEAN,
        H2PING=STRING,
        H2PingUseTLS=BOOLEAN,
        DisableRedirects=BOOLEAN,
        Interval=STRING,
        Timeout=STRING,
        DeregisterCriticalServiceAfter=STRING,
        AliasNode=STRING,
        AliasService=STRING,
        DockerContainerID=STRING,
        ScriptArgs=STRINGS,
        Shell=STRING,
        OutputMaxSize=INTEGER,
        TTL=STRING,
    ),
}
CHECK = Field(Kind.OBJECT, _CHECK_FIELDS)
HEALTH_ENTRY = _object(Node=NODE, Service=SERVICE, Checks=Field(Kind.OBJECTS, _CHECK_FIELDS))
NODE_DUMP = _object(
    **{name: field for name, field in NODE.fields.items() if name != "Datacenter"},
    Services=Field(Kind.OBJECTS, SERVICE.fields),
    Checks=Field(Kind.OBJECTS, _CHECK_FIELDS),
)
MEMBER = _object(
    Name=STRING,
    Addr=STRING,
    Port=INTEGER,
    Tags=STRING_MAP,
    Status=INTEGER,
    ProtocolMin=INTEGER,
    ProtocolMax=INTEGER,
    ProtocolCur=INTEGER,
    DelegateMin=INTEGER,
    DelegateMax=INTEGER,
    DelegateCur=INTEGER,
)
INTENTION = _object(
    Action=STRING,
    Description=STRING,
    DestinationName=STRING,
    DestinationNS=STRING,
    ID=STRING,
    Meta=STRING_MAP,
    Precedence=INTEGER,
    SourceName=STRING,
    SourceNS=STRING,
    SourceType=STRING,
)
