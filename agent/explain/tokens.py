"""What the tokens of a request are that somebody asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.backend import Backend
from agent.login.jose import Jose
from proxy.authz import Rule
from proxy.jwt import FAILS, Checked, TokenError, Tokens, check, read_provider, wanted_by
from proxy.permissions import Request
from raftstore.definition_queries import GetConfigEntry


async def tokens_of(
    backend: Backend, rules: Iterable[Rule], request: Request, wall: Callable[[], float]
) -> Tokens:
    """What the tokens of a request are, as far as keys stand in the provider's entry itself."""
    jose, found = Jose(), {}
    for wanted in wanted_by(rules):
        answer = await backend.ask(GetConfigEntry("jwt-provider", wanted))
        if answer.value is None:
            found[wanted] = Checked(text=FAILS, reason=f"there is no jwt-provider {wanted}")
            continue
        try:
            provider = read_provider(wanted, answer.value.content)
            keys = jose.keys(provider.jwks) if provider.jwks else None
        except TokenError as error:
            found[wanted] = Checked(text=FAILS, reason=str(error))
            continue
        found[wanted] = check(
            provider, headers=request.headers, target=request.target, keys=keys, jose=jose,
            now=wall(),
        )  # fmt: skip
        if keys is None and found[wanted].text == FAILS:
            where = provider.filename or (provider.remote.uri if provider.remote else "")
            reason = f"its keys are looked up by the sidecar, in {where}"
            found[wanted] = Checked(text=FAILS, reason=reason)
    return lambda name: found.get(name, Checked())
