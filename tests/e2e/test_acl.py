"""Access control over three servers and agents that ask them: one bootstrap, tokens that count
everywhere, and what still counts when no server can be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Cluster, Response, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RECOVERY = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"


def shown(secret: str) -> dict[str, str]:
    return {"X-Consul-Token": secret} if secret else {}


def settings(folder: Path, name: str, **more: Any) -> str:
    acl = {
        "enabled": True,
        "default_policy": "deny",
        "token_ttl": "1s",
        "tokens": {"agent_recovery": RECOVERY},
        **more,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"acl": acl}))
    return f"-config-file={path}"


@dataclass
class Guarded:
    cluster: Cluster
    servers: list[AgentProcess]
    extending: AgentProcess
    denying: AgentProcess
    management: str

    @property
    def agents(self) -> list[AgentProcess]:
        return [*self.servers, self.extending, self.denying]

    def follower(self) -> AgentProcess:
        leader = self.cluster.by_leader()
        return next(server for server in self.servers if server is not leader)

    def make(self, agent: AgentProcess, path: str, body: object) -> Any:
        return agent.put(path, body, headers=shown(self.management)).json

    def token(self, agent: AgentProcess, name: str, rules: str) -> tuple[str, str]:
        """The secret of a token with these rules, and the id of its policy."""
        policy = self.make(agent, "/v1/acl/policy", {"Name": name, "Rules": rules})
        token = self.make(agent, "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
        return str(token["SecretID"]), str(policy["ID"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    with cluster(folder) as made:
        flag = settings(folder, "server")
        servers = [made.add(f"s{i}", "-server", "-bootstrap-expect=3", flag) for i in range(1, 4)]
        for server in servers:
            server.ready()
        extending = made.add("c1", settings(folder, "c1", down_policy="extend-cache"))
        denying = made.add("c2", settings(folder, "c2", down_policy="deny"))
        # Not through the leader: it decides all the same.
        follower = next(server for server in servers if server is not made.by_leader())
        got = eventually(
            lambda: _if_ok(follower.request("PUT", "/v1/acl/bootstrap")),
            within_s=20,
            what="the first management token",
        )
        found = Guarded(made, servers, extending, denying, got.json["SecretID"])
        for agent in found.agents:
            agent.ready()
            body = {"Token": found.management}
            if agent is denying:
                identity = {"NodeIdentities": [{"NodeName": agent.name, "Datacenter": "dc1"}]}
                body = {"Token": found.make(follower, "/v1/acl/token", identity)["SecretID"]}
            eventually(
                lambda agent=agent, body=body: _if_ok(
                    agent.request(
                        "PUT", "/v1/agent/token/agent", body, headers=shown(found.management)
                    )
                ),
                within_s=20,
                what="agents have a token",
            )
        yield found


def _if_ok(got: Response) -> Response | None:
    return got if got.status == 200 else None


def test_there_is_one_bootstrap(guarded: Guarded) -> None:
    for agent in guarded.agents:
        got = agent.request("PUT", "/v1/acl/bootstrap")
        assert got.status == 403, got
        assert b"bootstrap no longer allowed" in got.body


def test_a_token_counts_at_every_agent(guarded: Guarded) -> None:
    rules = 'key_prefix "team/" { policy = "write" }'
    secret, policy = guarded.token(guarded.follower(), "team", rules)
    for agent in guarded.agents:
        eventually(
            lambda agent=agent: _if_ok(
                agent.request("PUT", f"/v1/kv/team/{agent.name}", b"v", headers=shown(secret))
            ),
            within_s=10,
            what=f"{agent.name} knows the token",
        )
        got = agent.request("PUT", "/v1/kv/other", b"v", headers=shown(secret))
        assert (got.status, got.body) == (403, b"Permission denied")
        assert agent.get("/v1/kv/team/s1").status == 403, "nobody is anybody"
        got = agent.get("/v1/kv/team/s1", headers=shown("1c0ffee0-0000-4000-8000-000000000000"))
        assert (got.status, got.body) == (403, b"ACL not found")
    keys = guarded.denying.get("/v1/kv/?keys", headers=shown(secret)).json
    assert sorted(keys) == sorted(f"team/{agent.name}" for agent in guarded.agents)
    # And what is taken away is away, on agents that ask after their TTL.
    path = f"/v1/acl/policy/{policy}"
    guarded.make(guarded.extending, path, {"Name": "team", "Rules": ""})
    for agent in guarded.agents:
        eventually(
            lambda agent=agent: agent.get("/v1/kv/team/s1", headers=shown(secret)).status == 403,
            within_s=10,
            what=f"{agent.name} knows of the change",
        )


def test_a_prepared_query_is_carried_out_with_its_own_token_everywhere(guarded: Guarded) -> None:
    rules = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'
    secret, _ = guarded.token(guarded.follower(), "reader", rules)
    service = {"Node": "far", "Address": "192.0.2.7", "Service": {"Service": "web", "Port": 80}}
    guarded.make(guarded.servers[0], "/v1/catalog/register", service)
    query = {"Name": "for-web", "Token": secret, "Service": {"Service": "web"}}
    made = guarded.servers[0].request("POST", "/v1/query", query, headers=shown(guarded.management))
    assert made.status == 200, made
    for agent in guarded.agents:
        eventually(
            lambda agent=agent: len(agent.get("/v1/query/for-web/execute").json["Nodes"]) == 1,
            within_s=10,
            what=f"{agent.name} carries the query out",
        )
        assert agent.dns("for-web.query.consul") == ["192.0.2.7"]
        assert agent.dns("web.service.consul") == [], "nobody sees the service itself"
        assert agent.get("/v1/health/service/web").json == []


def test_a_service_nobody_may_register_is_told_by_no_agent(guarded: Guarded) -> None:
    """Servers keep themselves to it as well as agents without a state."""
    mine = guarded.make(
        guarded.follower(), "/v1/acl/token", {"ServiceIdentities": [{"ServiceName": "mine"}]}
    )["SecretID"]
    for agent in (guarded.servers[0], guarded.denying):
        for name, secret in (("mine", mine), ("yours", mine)):
            local = {"Name": name, "ID": f"{name}-{agent.name}", "Token": secret}
            agent.put("/v1/agent/service/register", local, headers=shown(guarded.management))
        path = "/v1/catalog/service/mine"
        eventually(
            lambda agent=agent, path=path: (
                f"mine-{agent.name}"
                in [
                    each["ServiceID"]
                    for each in agent.get(path, headers=shown(guarded.management)).json
                ]
            ),
            within_s=20,
            what=f"{agent.name} tells of the service that its token may register",
        )
        eventually(
            lambda agent=agent: (
                f"not allowed to tell the catalog action=register service yours-"
                f"{agent.name}" in agent.log
            ),
            within_s=20,
            what=f"{agent.name} is refused the other",
        )
    path = "/v1/catalog/service/yours"
    assert guarded.servers[0].get(path, headers=shown(guarded.management)).json == []


def test_a_sidecar_has_the_rights_of_its_registration(guarded: Guarded) -> None:
    body = {"ServiceIdentities": [{"ServiceName": "web"}]}
    secret = guarded.make(guarded.follower(), "/v1/acl/token", body)["SecretID"]
    agent = guarded.denying
    # Its own agent may see no service, nor be one: it is the identity that may.
    upstream = {"DestinationName": "db", "LocalBindPort": 9191}
    web = {
        "Name": "web",
        "Port": 8080,
        "Connect": {"SidecarService": {"Proxy": {"Upstreams": [upstream]}}},
    }
    eventually(
        lambda: _if_ok(
            agent.request("PUT", "/v1/agent/service/register", web, headers=shown(secret))
        ),
        within_s=10,
    )
    path = "/v1/agent/connect/feed/web-sidecar-proxy"
    assert agent.get(path).status == 403

    def complete() -> bool:
        found = agent.get(path, headers=shown(secret))
        return found.status == 200 and found.json["Complete"]

    eventually(complete, within_s=20, what="all that the proxy needs")
    listed = "/v1/catalog/service/web-sidecar-proxy"
    eventually(
        lambda: guarded.servers[0].get(listed, headers=shown(guarded.management)).json,
        within_s=20,
        what="it is in the catalog",
    )


def test_a_new_leader_goes_on_with_the_same_tokens(guarded: Guarded) -> None:
    secret, _ = guarded.token(guarded.extending, "kept", 'key "kept" { policy = "write" }')
    old = guarded.cluster.by_leader()
    old.kill()
    rest = [server for server in guarded.servers if server is not old]
    for agent in (*rest, guarded.extending):
        eventually(
            lambda agent=agent: _if_ok(
                agent.request("PUT", "/v1/kv/kept", b"v", headers=shown(secret))
            ),
            within_s=30,
            what=f"a write through {agent.name}",
        )
        assert agent.request("PUT", "/v1/kv/kept", b"v").status == 403
    old.start().ready(within_s=30)
    got = eventually(
        lambda: _if_ok(old.get("/v1/kv/kept", headers=shown(secret))),
        within_s=20,
        what="the old leader is back",
    )
    assert got.status == 200
    tokens = rest[0].get("/v1/acl/tokens", headers=shown(guarded.management)).json
    names = [token["Description"] for token in tokens]
    assert names.count("Anonymous Token") == 1


def test_without_servers_the_down_policy_decides(guarded: Guarded) -> None:
    rules = 'agent_prefix "" { policy = "read" }'
    secret, _ = guarded.token(guarded.follower(), "reads-agents", rules)
    agents = (guarded.extending, guarded.denying)
    for agent in agents:
        eventually(
            lambda agent=agent: _if_ok(agent.get("/v1/agent/self", headers=shown(secret))),
            within_s=10,
        )
    for server in guarded.servers:
        server.kill()
    got = eventually(
        lambda: _refused(guarded.denying.get("/v1/agent/self", headers=shown(secret))),
        within_s=20,
        what="nobody answers for the token",
    )
    assert got.status == 403
    for _ in range(3):
        assert guarded.extending.get("/v1/agent/self", headers=shown(secret)).status == 200
    # What was never seen has no rights to keep.
    assert guarded.extending.get("/v1/agent/self").status == 403
    for agent in agents:
        assert agent.get("/v1/agent/self", headers=shown(RECOVERY)).status == 200
        assert agent.get("/v1/agent/host", headers=shown(RECOVERY)).status == 403
    for server in guarded.servers:
        server.start()
    for agent in agents:
        eventually(
            lambda agent=agent: _if_ok(agent.get("/v1/agent/self", headers=shown(secret))),
            within_s=60,
            what="servers are asked again",
        )


def _refused(got: Response) -> Response | None:
    return got if got.status == 403 else None
