"""`/v1/explain/intention`: the winner, each permission, and every loser."""

from __future__ import annotations

from tests.agent.http.rig import Client, Rig
from tests.proxy.tokens import Issuer


async def test_a_request_is_explained(rig: Rig) -> None:
    from agent.explain.intention import intention_explainer

    async with Client(rig.port) as client:
        for body in (
            {"Kind": "proxy-defaults", "Config": {"protocol": "http"}},
            {
                "Kind": "service-intentions",
                "Name": "web",
                "Sources": [
                    {
                        "Name": "api",
                        "Permissions": [
                            {"Action": "deny", "HTTP": {"PathPrefix": "/admin"}},
                            {"Action": "audit", "HTTP": {"PathRegex": "/v[0-9]+"}},
                        ],
                    },
                    {"Name": "*", "Action": "deny"},
                ],
            },
        ):
            assert (await client.put("/v1/config", body)).json is True
    explain = intention_explainer(rig.backend, default_allow=False)
    told = await explain(["api", "web"], {"path": "/x/../v12", "method": "PUT"})
    assert (told["Allowed"], told["Audited"]) == (True, True)
    assert told["Request"]["Path"] == "/v12"
    assert [one["Matches"] for one in told["Request"]["Permissions"]] == [False, True]
    assert [(one["Source"], one["Precedence"]) for one in told["Losers"]] == [("*", 8)]
    assert not (await explain(["api", "web"], {"path": "//admin"}))["Allowed"]
    assert not (await explain(["api", "web"], {}))["Allowed"]


async def test_the_claim_that_failed_is_named(rig: Rig) -> None:
    from agent.explain.intention import intention_explainer

    issuer = Issuer()
    wanted = {"Name": "idp", "VerifyClaims": [{"Path": ["role"], "Value": "admin"}]}
    async with Client(rig.port) as client:
        for body in (
            {"Kind": "proxy-defaults", "Config": {"protocol": "http"}},
            {"Kind": "jwt-provider", "Name": "idp", **issuer.provider()},
            {
                "Kind": "service-intentions",
                "Name": "db",
                "Sources": [{"Name": "web", "Action": "allow"}],
                "JWT": {"Providers": [wanted]},
            },
        ):
            assert (await client.put("/v1/config", body)).json is True
    explain = intention_explainer(rig.backend)
    for header, allowed, why in (
        ("", False, "no token"),
        (f"Authorization: Bearer {issuer.token(iss='me', role='x')}", False, "claim role"),
        (f"Authorization: Bearer {issuer.token(iss='you', role='admin')}", False, "claim iss"),
        (f"Authorization: Bearer {issuer.token(iss='me', role='admin')}", True, "token of idp"),
    ):
        shown = await explain(["web", "db"], {"path": "/", "header": header})
        assert (shown["Allowed"], why in shown["Reason"]) == (allowed, True), shown["Reason"]
        assert "Bearer" not in shown["Reason"]
    assert shown["Winner"]["JWT"] == [{"Provider": "idp", "Claims": ["role=admin"]}]
