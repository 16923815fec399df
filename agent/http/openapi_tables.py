"""What requests may carry, endpoint by endpoint: query parameters and bodies.

A test compares this with the route table and with what handlers look at, so an endpoint or a
parameter that is not here fails it.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.http import (
    agent_tokens,
    coordinate,
    operator_keyring,
    parse,
    parse_acl,
    parse_catalog,
    parse_login,
    parse_operator,
    parse_query,
    parse_session,
    parse_txn,
    revocations,
)
from agent.http.decode import Shape
from agent.http.routes.table import Class
from raftstore.records import Json

_STRING: Json = {"type": "string"}
_NUMBER: Json = {"type": "integer", "minimum": 0}
#: Only whether it is there counts.
_PRESENT: Json = {"type": "string", "maxLength": 0}
_BOOLEAN: Json = {"type": "string", "enum": ["", "true", "false"]}
_DURATION: Json = {"type": "string", "pattern": "^[0-9]{1,4}(ms|s|m)$"}
_LIST: Json = {"type": "array", "items": {"type": "string"}}
_MOMENT: Json = {"type": "string", "examples": ["1024", "2026-01-31T10:00:00Z"]}

#: Every query parameter: its schema, and what it is for.
PARAMETERS: Mapping[str, tuple[Json, str]] = {
    "accessor": (_STRING, "Of the token with this accessor id"),
    "acquire": (_STRING, "Write only if the session gets, or holds, the lock on the key"),
    "address": (_STRING, "The server with this address of its server port"),
    "at": (_MOMENT, "The state as of an earlier index or RFC 3339 time"),
    "authmethod": (_STRING, "Only those that this auth method gave out"),
    "cached": (_PRESENT, "An answer that is kept by the agent is good enough"),
    "cas": (_NUMBER, "Write only if the modify index is this; 0: only if absent"),
    "compile-dc": (_STRING, "The datacenter to compile for"),
    "connect": (_BOOLEAN, "Mesh endpoints instead of the instances themselves"),
    "consistent": (_PRESENT, "An answer that a quorum has confirmed"),
    "dc": (_STRING, "The datacenter to ask"),
    "destination": (_STRING, "The service that is connected to"),
    "diff": (_PRESENT, "How two states differ, instead of every change between them"),
    "enable": (_BOOLEAN, "Into maintenance, or out of it"),
    "expanded": (_BOOLEAN, "With the policies and roles behind the links"),
    "filter": (_STRING, "An expression that what is listed must meet"),
    "flags": (_NUMBER, "A number that is kept beside the value"),
    "live": (_PRESENT, "Ask the agents which connections that stand would end, too"),
    "new": (_PRESENT, "Another key, also where a request is open"),
    "force": (_PRESENT, "Also where the old root cannot sign the new one"),
    "format": ({"type": "string", "enum": ["", "text", "prometheus"]}, "The form of the answer"),
    "global": (_PRESENT, "All datacenters"),
    "hash": (_STRING, "Hold the answer as long as its content hash is this"),
    "id": (_STRING, "The server with this node id"),
    "index": (_NUMBER, "Hold the answer until its index is greater than this"),
    "key": (_STRING, "Only rows whose key begins so"),
    "keys": (_PRESENT, "Only the names of keys"),
    "kind": ({"type": "string", "enum": ["", "ingress-gateway"]}, "What the service is"),
    "leader": (_PRESENT, "An answer as of now, whatever discovery_max_stale says"),
    "limit": ({"type": "integer"}, "No more than so many"),
    "local-only": (_BOOLEAN, "Only the datacenter that is asked"),
    "logjson": (_PRESENT, "Lines as JSON"),
    "loglevel": (_STRING, "The lowest level: trace, debug, info, warn, err"),
    "max_stale": (_DURATION, "An answer that is at most so old"),
    "merge-central-config": (_BOOLEAN, "With the defaults of config entries"),
    "name": (_STRING, "Only those of this name"),
    "near": (_STRING, "The nearest to this node first; _agent is the agent that is asked"),
    "node": (_STRING, "A pattern for names of nodes"),
    "node-meta": (_LIST, "KEY:VALUE that the node's metadata must have"),
    "note": (_STRING, "The check's output"),
    "passing": (_BOOLEAN, "Only instances all of whose checks pass"),
    "pem": (_BOOLEAN, "As PEM instead of JSON"),
    "plan": ({"type": "string", "enum": ["", "delete"]}, "Say what it would do, and do nothing"),
    "peer": (_STRING, "Those of a peered cluster: there are none"),
    "policy": (_STRING, "Only those that link to the policy with this id"),
    "pretty": (_PRESENT, "Indented JSON"),
    "prune": (_PRESENT, "Forget the member too"),
    "raw": (_PRESENT, "The value itself"),
    "reason": (_STRING, "Why, for those who look at the check"),
    "recurse": (_PRESENT, "All keys that begin so"),
    "relay-factor": (_NUMBER, "Send answers through so many other members as well"),
    "release": (_STRING, "Write, and give the key free, only if the session holds it"),
    "replace-existing-checks": (_BOOLEAN, "Forget checks that are not given any more"),
    "role": (_STRING, "Only those that link to the role with this id"),
    "segment": (_STRING, "Only this network segment"),
    "separator": (_STRING, "Cut names after the first of these behind the prefix"),
    "seperator": (_STRING, "An old spelling of separator"),
    "service": (_LIST, "A service; for events a pattern for names of services"),
    "servicename": (_STRING, "Only those with an identity of this service"),
    "since": (_MOMENT, "Changes after this"),
    "source": (_STRING, "The service that connects"),
    "source-type": (_STRING, "What the source's name is: consul"),
    "stale": (_PRESENT, "Any server may answer at once"),
    "table": (_STRING, "Only rows of this table"),
    "tag": (_LIST, "A tag that the instance must have"),
    "token": (_STRING, "The secret id of a token"),
    "until": (_MOMENT, "Changes up to this"),
    "version": (_STRING, "The form of the answer"),
    "wait": (_DURATION, "Hold the answer at most so long"),
    "watch": (_LIST, "A read below /v1 with its parameters, such as health/service/web?passing"),
    "wan": (_BOOLEAN, "The pool of servers of all datacenters"),
    "by": ({"type": "string", "enum": ["source", "destination"]}, "The side that is named"),
}

#: What every endpoint of a class takes.
OF_CLASS: Mapping[Class, str] = {
    Class.LOCAL_READ: "pretty token",
    Class.LOCAL_WRITE: "pretty token",
    Class.READ: "dc index wait stale consistent leader max_stale cached at pretty token",
    Class.WRITE: "dc pretty token",
}

#: What single endpoints take beside.
OF_ENDPOINT: Mapping[str, str] = {
    "GET /v1/acl/tokens": "policy role authmethod servicename",
    "GET /v1/acl/token/": "expanded",
    "GET /v1/acl/roles": "policy",
    "GET /v1/acl/binding-rules": "authmethod",
    "GET /v1/agent/members": "wan segment filter",
    "GET /v1/agent/metrics": "format",
    "GET /v1/agent/monitor": "loglevel logjson",
    "PUT /v1/agent/join/": "wan",
    "PUT /v1/agent/force-leave/": "prune wan",
    "PUT /v1/agent/maintenance": "enable reason",
    "GET /v1/agent/services": "filter",
    "GET /v1/agent/service/": "hash wait",
    "PUT /v1/agent/service/register": "replace-existing-checks",
    "PUT /v1/agent/service/maintenance/": "enable reason",
    "GET /v1/agent/health/service/id/": "format",
    "GET /v1/agent/health/service/name/": "format",
    "GET /v1/agent/checks": "filter",
    "PUT /v1/agent/check/pass/": "note",
    "PUT /v1/agent/check/warn/": "note",
    "PUT /v1/agent/check/fail/": "note",
    "GET /v1/agent/connect/feed/": "version wait",
    "GET /v1/catalog/datacenters": "cached",
    "GET /v1/catalog/nodes": "near node-meta filter",
    "GET /v1/catalog/services": "node-meta filter",
    "GET /v1/catalog/service/": "tag near node-meta filter merge-central-config peer",
    "GET /v1/catalog/connect/": "tag near node-meta filter merge-central-config peer",
    "GET /v1/catalog/node/": "filter",
    "GET /v1/catalog/node-services/": "filter merge-central-config",
    "GET /v1/health/node/": "filter",
    "GET /v1/health/checks/": "near node-meta filter",
    "GET /v1/health/state/": "near node-meta filter",
    "GET /v1/health/service/": "passing tag near node-meta filter merge-central-config peer",
    "GET /v1/health/connect/": "passing tag near node-meta filter merge-central-config peer",
    "GET /v1/health/ingress/": "passing tag near node-meta filter merge-central-config peer",
    "GET /v1/kv/": "raw recurse keys separator seperator",
    "PUT /v1/kv/": "flags cas acquire release",
    "DELETE /v1/kv/": "recurse cas",
    "GET /v1/coordinate/nodes": "segment",
    "GET /v1/coordinate/node/": "segment",
    "PUT /v1/event/fire/": "node service tag",
    "GET /v1/event/list": "name node service tag index wait",
    "PUT /v1/config": "cas plan",
    "GET /v1/config/": "filter",
    "DELETE /v1/config/": "cas",
    "GET /v1/discovery-chain/": "compile-dc version",
    "POST /v1/discovery-chain/": "compile-dc version",
    "GET /v1/query/:name/execute": "near limit connect",
    "DELETE /v1/operator/raft/peer": "id address",
    "POST /v1/operator/raft/transfer-leader": "id",
    "PUT /v1/operator/autopilot/configuration": "cas",
    "GET /v1/operator/keyring": "relay-factor local-only",
    "POST /v1/operator/keyring": "relay-factor",
    "PUT /v1/operator/keyring": "relay-factor",
    "DELETE /v1/operator/keyring": "relay-factor",
    "GET /v1/operator/usage": "global",
    "GET /v1/explain/": "accessor live",
    "GET /v1/history": "since until table key limit diff",
    "GET /v1/connect/ca/roots": "pem",
    "PUT /v1/connect/ca/csr": "new",
    "PUT /v1/connect/ca/intermediate": "force",
    "PUT /v1/connect/ca/rotate": "force",
    "DELETE /v1/connect/ca/revocations": "id",
    "GET /v1/connect/intentions": "filter",
    "GET /v1/connect/intentions/match": "by name",
    "GET /v1/connect/intentions/check": "source destination source-type",
    "GET /v1/connect/intentions/exact": "source destination",
    "PUT /v1/connect/intentions/exact": "source destination",
    "DELETE /v1/connect/intentions/exact": "source destination",
    "GET /v1/discovery/prometheus": "service passing tag node-meta filter",
    "GET /v1/watch": "watch index",
    "GET /v1/internal/ui/nodes": "filter",
    "GET /v1/internal/ui/services": "filter",
    "GET /v1/internal/ui/service-topology/": "kind",
}

_OBJECT: Json = {"type": "object"}

#: JSON bodies by endpoint.
BODIES: Mapping[str, Shape | Json] = {
    "PUT /v1/agent/service/register": parse.SERVICE_DEFINITION,
    "PUT /v1/agent/check/register": parse.CHECK_DEFINITION,
    "PUT /v1/agent/check/update/": parse.CHECK_UPDATE,
    "POST /v1/agent/connect/authorize": parse.AUTHORIZE,
    "PUT /v1/agent/connect/feed/": {
        "type": "object",
        "properties": {
            "Version": {"type": "string"},
            "Error": {"type": "string"},
            "AdminPort": {"type": "integer"},
        },
    },
    "PUT /v1/catalog/register": parse_catalog.REGISTER,
    "PUT /v1/catalog/deregister": parse_catalog.DEREGISTER,
    "PUT /v1/txn": parse_txn.OPERATION,
    "PUT /v1/session/create": parse_session.SESSION,
    "PUT /v1/coordinate/update": coordinate.UPDATE,
    "PUT /v1/event/fire/": {"contentEncoding": "binary"},
    "PUT /v1/acl/bootstrap": parse_acl.BOOTSTRAP,
    "PUT /v1/acl/token": parse_acl.TOKEN,
    "PUT /v1/acl/token/": parse_acl.TOKEN,
    "PUT /v1/acl/policy": parse_acl.POLICY,
    "PUT /v1/acl/policy/": parse_acl.POLICY,
    "PUT /v1/acl/auth-method": parse_login.METHOD,
    "PUT /v1/acl/auth-method/": parse_login.METHOD,
    "PUT /v1/acl/binding-rule": parse_login.RULE,
    "PUT /v1/acl/binding-rule/": parse_login.RULE,
    "POST /v1/acl/login": parse_login.LOGIN,
    "POST /v1/acl/oidc/auth-url": parse_login.AUTH_URL,
    "POST /v1/acl/oidc/callback": parse_login.CALLBACK,
    "PUT /v1/agent/token/": agent_tokens.BODY,
    "PUT /v1/acl/role": parse_acl.ROLE,
    "PUT /v1/acl/role/": parse_acl.ROLE,
    "POST /v1/acl/rules/translate": {"type": "string"},
    "POST /v1/acl/templated-policy/preview/": {
        "type": "object",
        "properties": {"Name": {"type": "string"}},
    },
    "POST /v1/internal/acl/authorize": parse_acl.AUTHORIZATION,
    "PUT /v1/config": {
        "type": "object",
        "required": ["Kind", "Name"],
        "properties": {"Kind": {"type": "string"}, "Name": {"type": "string"}},
    },
    "POST /v1/discovery-chain/": {
        "type": "object",
        "properties": {
            "OverrideConnectTimeout": {"type": "string"},
            "OverrideProtocol": {"type": "string"},
            "OverrideMeshGateway": _OBJECT,
        },
    },
    "POST /v1/query": parse_query.QUERY,
    "PUT /v1/query/": parse_query.QUERY,
    "PUT /v1/operator/autopilot/configuration": parse_operator.AUTOPILOT,
    "POST /v1/operator/keyring": operator_keyring.REQUEST,
    "PUT /v1/operator/keyring": operator_keyring.REQUEST,
    "DELETE /v1/operator/keyring": operator_keyring.REQUEST,
    "PUT /v1/connect/ca/configuration": parse.CA_CONFIG,
    "PUT /v1/connect/ca/intermediate": parse.INTERMEDIATE,
    "PUT /v1/connect/ca/revoke": revocations.BODY,
    "POST /v1/connect/intentions": parse.INTENTION,
    "PUT /v1/connect/intentions/exact": parse.INTENTION,
    "PUT /v1/connect/intentions/": parse.INTENTION,
}
#: Those whose body is a list of what is named.
LISTS = frozenset({"PUT /v1/txn", "POST /v1/internal/acl/authorize"})
#: Those that answer with something else than JSON.
TEXT = frozenset(
    {"GET /v1/watch", "GET /v1/agent/monitor", "GET /v1/agent/metrics/stream", "GET /v1/snapshot"}
)
