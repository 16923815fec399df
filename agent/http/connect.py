"""`/v1/connect/ca/` and `/v1/agent/connect/`: certificates, and may this client in (10.1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import unquote

from agent.acl.authorizer import WRITE
from agent.acl.caller import Need
from agent.backend.authority import AuthorityCalls, CAWish
from agent.connect import revoking
from agent.errors import RequestError
from agent.explain.intention import decision, default_of
from agent.http import parse, render
from agent.http.call import Call
from agent.http.params import parse_bool
from agent.http.reply import Reply
from proxy import authz, spiffe
from proxy.errors import IdentityError
from raftstore.queries import GetCAConfig, GetCARoots
from raftstore.revocations import ListRevocations

#: Providers of the reference that are known and not built in (contract A.8).
_FOREIGN = frozenset({"vault", "aws-pca"})


async def roots(call: Call) -> Reply:
    """The roots, as JSON or as one PEM bundle."""
    options = call.options()
    pem = False
    if "pem" in call.params:
        wish = parse_bool(call.params.get("pem"))
        if wish is None:
            reason = "Bad request: The 'pem' query parameter must be a boolean value"
            raise RequestError(400, reason)
        pem = wish
    found = await call.ask(GetCARoots(), options)
    if pem:
        bundle = "".join(root.root_cert.rstrip("\n") + "\n" for root in found.value.roots)
        return Reply(bundle.encode(), "application/pem-certificate-chain")
    return call.answer(render.ca_roots(found.value), found, effective=False)


async def agent_roots(call: Call) -> Reply:
    """The roots, as an agent serves them to what runs beside it: also while no server answers."""
    found = await call.ask_kept(GetCARoots())
    headers = (*call.read_headers(found, effective=False), *call.kept_headers())
    return call.json(render.ca_roots(found.value), headers=headers)


async def configuration_get(call: Call) -> Reply:
    """The CA's configuration."""
    options = call.options()
    found = await call.ask(GetCAConfig(), options)
    if found.value is None:
        raise RequestError(500, "CA is uninitialized and unable to serve its configuration")
    return call.json(render.ca_config(found.value))


async def configuration_put(call: Call) -> Reply:
    """Change the CA's settings, and its root if they mean another. The provider is built in."""
    provider, config, force = parse.ca_configuration(call.body)
    if provider in _FOREIGN:
        reason = (
            f'could not initialize provider: CA provider "{provider}" is not supported: use '
            '"consul", with ExternalSigner where the root\'s key must stay elsewhere'
        )
        raise RequestError(500, reason)
    if provider and provider != "consul":
        reason = f'could not initialize provider: unknown CA provider "{provider}"'
        raise RequestError(500, reason)
    call.check_datacenter()
    wish = CAWish(config=config, force=force)
    await AuthorityCalls(call.context.backend).configure(wish)
    return Reply()


async def rotate(call: Call) -> Reply:
    """Put a new root in the place of the active one, with the settings as they are (ours)."""
    call.check_datacenter()
    wish = CAWish(rotate=True, force="force" in call.params)
    await AuthorityCalls(call.context.backend).configure(wish)
    return await _active(call)


async def signing_request(call: Call) -> Reply:
    """The request for an intermediate, for the keeper of the root's key to sign (ours)."""
    call.check_datacenter()
    fresh = "new" in call.params
    csr_pem = await AuthorityCalls(call.context.backend).request(fresh=fresh)
    return Reply(csr_pem.encode(), "application/x-pem-file")


async def set_intermediate(call: Call) -> Reply:
    """What was signed of the request, with all above it: sign with it from now on (ours)."""
    call.check_datacenter()
    chain_pem = parse.intermediate(call.body)
    force = "force" in call.params
    await AuthorityCalls(call.context.backend).install(chain_pem, force=force)
    return await _active(call)


async def _active(call: Call) -> Reply:
    found = await call.context.backend.ask(GetCARoots())
    active = next((root.id for root in found.value.roots if root.active), "")
    return call.json({"ActiveRootID": active})


async def leaf(call: Call) -> Reply:
    """The leaf certificate of a service on this host."""
    options = call.options()
    service = unquote(call.rest)
    if not service:
        raise RequestError(500, "URI must be either service or agent")
    call.require(Need("service", WRITE, service))
    leaves = call.context.leaves
    if options.min_index:
        with call.waiting.place():
            try:
                found = await leaves.leaf(
                    service, min_index=options.min_index, wait_s=options.wait_s
                )
            except asyncio.CancelledError:
                call.waiting.raise_if_stopping()
                raise
    else:
        found = await leaves.leaf(service)
    headers = (f"X-Consul-Index: {found.modify_index or 1}", "X-Cache: MISS")
    return call.json(render.leaf(found), headers=headers)


async def renew(call: Call) -> Reply:
    """Have a new leaf made for a service (ours)."""
    service = unquote(call.rest)
    if not service:
        raise RequestError(400, "Missing service name")
    call.require(Need("service", WRITE, service))
    return call.json(render.leaf(await call.context.leaves.renew(service)))


async def authorize(call: Call) -> Reply:
    """Whether the holder of a certificate may connect to a service."""
    target, uri, serial = parse.authorize(call.body)
    if not target:
        raise RequestError(400, "Bad request: Target service must be specified")
    try:
        identity = spiffe.parse(uri)
    except IdentityError:
        reason = "Bad request: ClientCertURI not a valid Connect identifier"
        raise RequestError(400, reason) from None
    if identity.kind is not spiffe.Kind.SERVICE:
        raise RequestError(400, "Bad request: ClientCertURI not a valid Service identifier")
    call.require(Need("service", WRITE, target))
    found = await decision(
        call.context.backend,
        source=identity.name,
        destination=target,
        **default_of(call.context.config),
    )
    if found.allowed:
        # A certificate of another mesh is let in nowhere, whatever the intentions say.
        ours = await call.context.backend.ask(GetCARoots())
        found = authz.foreign(identity, ours.value.trust_domain) or found
    if found.allowed and serial:
        listed = (await call.context.backend.ask(ListRevocations())).value
        why = revoking.denied(listed, identity, serial)
        found = replace(found, allowed=False, reason=why) if why else found
    return call.json(
        {"Authorized": found.allowed, "Reason": found.reason}, headers=("X-Cache: MISS",)
    )
