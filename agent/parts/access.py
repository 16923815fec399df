"""Access control of an agent: who resolves tokens, and who guards the state."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agent.acl.access import Access
from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import WRITE
from agent.acl.caller import NOT_FOUND, Need, TokenNotFound
from agent.acl.grants import ResolvedToken
from agent.acl.guard import check_declared
from agent.acl.own import OwnState
from agent.acl.remote_resolver import RemoteResolver
from agent.acl.resolver import NoResolver, Resolver, ServerResolver
from agent.acl.served import RESOLVE_TOKEN, GuardedService, check_methods, decode_resolved, own_need
from agent.backend import Backend
from agent.backend.acting import ACTING
from agent.backend.archive_transfers import ARCHIVE_METHODS
from agent.backend.remote import RemoteBackend
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcPool
from agent.config.schema import AgentConfig
from agent.errors import RequestError
from agent.local import token_file
from agent.parts.ground import Ground
from proxy.spiffe import Kind

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend
    from agent.backend.rpc.service import RpcService
    from proxy.spiffe import SpiffeId

#: Without a server that answers within so many seconds the down policy decides.
RESOLVE_MAX_S = 2.0


async def _ask_server(backend: RemoteBackend, secret: str) -> ResolvedToken:
    try:
        raw = await backend.call_server(RESOLVE_TOKEN, calls.pack(secret), hold_s=RESOLVE_MAX_S)
    except RequestError as error:
        if error.text == NOT_FOUND:
            raise TokenNotFound from None
        raise
    return decode_resolved(raw)


def _server_secret(resolver: ServerResolver) -> str:
    """What a server asks another with: it has looked at permissions itself."""
    return resolver.server_secret


def _asker(tokens: AgentTokens) -> str:
    """What an agent without a state asks a server with: the token of the request it answers."""
    secret = ACTING.get()
    return tokens.agent if secret is None else secret


def guarded(
    service: RpcService, access: Access, config: AgentConfig
) -> RpcService | GuardedService:
    """The servant of the server port, behind the guard where there is one."""
    resolver = access.resolver
    if not isinstance(resolver, ServerResolver):
        return service
    return GuardedService(
        service,
        access.guard,
        resolver,
        default_allow=config.acl.default_allow,
        more=needs_of_payloads(),
    )


def needs_of_payloads() -> Mapping[str, Callable[[bytes], Need | None]]:
    """What methods of the server port need of which access control knows nothing."""
    return {
        calls.SIGN_LEAF: _leaf_need,
        calls.AGENT_CERTIFICATE: _certificate_need,
        **dict.fromkeys(ARCHIVE_METHODS, lambda payload: Need("acl", WRITE)),
    }


def own_state(backend: LocalBackend | RemoteBackend, access: Access) -> Backend:
    """The way to the state for what runs by itself on this host."""
    if not isinstance(access.resolver, ServerResolver):
        return backend  # there is nothing to guard, or a server guards that is asked
    return OwnState(access, backend, leaf_need=_signing_need, method_need=own_need)


def _leaf_need(payload: bytes) -> Need:
    csr_pem, *_ = calls.unpack(payload, str)
    return _signing_need(str(csr_pem))


def _signing_need(csr_pem: str) -> Need:
    identity = _requested_identity(csr_pem)
    return Need("service" if identity.kind is Kind.SERVICE else "node", WRITE, identity.name)


def _certificate_need(payload: bytes) -> Need | None:
    csr_pem, *_ = calls.unpack(payload, str)
    if not csr_pem:
        return None  # only the trust domain is asked for, which is no secret
    return Need("node", WRITE, _requested_identity(str(csr_pem)).name)


def _requested_identity(csr_pem: str) -> SpiffeId:
    # A library of 9 MB: whoever asks us to sign has had it in use.
    from agent.connect.ca import requested_identity

    return requested_identity(csr_pem)


def make_access(ground: Ground, backend: LocalBackend | RemoteBackend, pool: RpcPool) -> Access:
    """For all faces of the agent. Raises Undeclared where something has no permission."""
    config = ground.config
    persistent = config.acl.enabled and config.acl.enable_token_persistence and config.data_dir
    kept = token_file.load(config.data_dir) if persistent else {}
    tokens = AgentTokens(config.acl.tokens, kept)
    check_declared()
    check_methods()
    resolver: Resolver = NoResolver()
    if config.acl.enabled and not isinstance(backend, RemoteBackend):
        resolver = ServerResolver(
            backend,
            config.acl,
            tokens,
            node=config.node_name,
            datacenter=config.datacenter,
            unix_clock=time.time,
            known_max=config.limits.acl_tokens_known_max,
        )
        pool.acting = functools.partial(_server_secret, resolver)
    elif config.acl.enabled:
        assert isinstance(backend, RemoteBackend), "there are two kinds of backends"
        remote = RemoteResolver(
            functools.partial(_ask_server, backend),
            config.acl,
            tokens,
            node=config.node_name,
            known_max=config.limits.acl_tokens_known_max,
        )
        ground.closers.add("token resolver", remote.close)
        resolver = remote
        pool.acting = functools.partial(_asker, tokens)
    access = Access(
        config.acl,
        backend,
        resolver=resolver,
        tokens=tokens,
        holds_state=not isinstance(backend, RemoteBackend),
        unix_clock=time.time,
    )
    ground.metrics.add("acl_resolver", resolver.stats)
    ground.metrics.add("acl", lambda: access.guard.stats)
    return access
