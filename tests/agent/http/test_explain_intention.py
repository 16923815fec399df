"""`/v1/explain/intention`: the winner, each permission, and every loser."""

from __future__ import annotations

from tests.agent.http.rig import Client, Rig


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
