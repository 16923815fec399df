"""Links between servers: one TCP connection per pair, identified, bounded, dialled again.

Of two servers the one with the greater node id dials; a server that is no member of anything yet
dials whom it knows by address. A link opens with an introduction (``link``) that proves itself
fresh, so that a recorded stream opens nothing. With certificates configured
(``PeerTls``) every link is TLS in both directions, and the certificate must be a server's and agree
with the hello; without, the hello is believed. Who is let in is decided in ``admission``; who is
not is counted, kept for a while and logged (``refusals``). This module knows nothing of Raft: it
hands over messages and says when a link comes and goes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from raftstore.raft import identity
from raftstore.raft.admission import REMOVED, Admission
from raftstore.raft.config import RaftConfig
from raftstore.raft.entry_runs import pack_run
from raftstore.raft.frames import (
    PROTOCOL_VERSION,
    Append,
    Hello,
    Message,
    Removed,
    Returned,
    encode,
    encode_append,
)
from raftstore.raft.link import FIRST_BYTE, PeerLink
from raftstore.raft.log import Entry
from raftstore.raft.members import Disk
from raftstore.raft.refusals import Refusal, Refusals

__all__ = ["FIRST_BYTE", "PeerLink", "PeerNetwork", "PeerTls"]

log = logging.getLogger("lictor.raftstore.raft.transport")

REASONS = (
    "frame too large",
    "handshake failed",
    "hello timeout",
    "inbox full",
    "malformed frame",
    "message to a blocked peer",
    "node failed",
    "peer does not read",
    "plain connection",
    REMOVED,
    "replaced",
    "replayed hello",
    "stopped",
    "stranger",
    "too many connections",
    "too many connections of one address",
    "wrong cluster",
    "wrong node",
    "wrong protocol version",
    *identity.Refusal,
)
"""Why links are closed, or not opened, and messages dropped."""
_OWN_DOING = frozenset({"node failed", "replaced", "stopped"})


class PeerTls(Protocol):
    """What makes links secure. Asked anew for every link, so certificates can be replaced."""

    @property
    def server_name(self) -> str:
        """The name that a server's certificate must carry."""
        ...

    def peer_context(self) -> ssl.SSLContext:
        """For dialling; shows our certificate and verifies the other's and its name."""
        ...

    def peer_refusal(self, certificate: bytes | None, node_id: str | None) -> str:
        """Why the holder of a verified certificate (DER) may not be this node, "" if it may."""
        ...

    def names_of(self, certificate: bytes | None) -> str:
        """The names in a verified certificate, for people."""
        ...


class PeerNetwork:
    """All links of one server, the address book, and the tasks that dial."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        cluster_id: Callable[[], str],
        on_message: Callable[[str, Message, int], bool],
        on_up: Callable[[str, Hello], None],
        on_down: Callable[[str], None],
        rng: random.Random,
        tls: PeerTls | None = None,
        memory: Callable[[], tuple[Disk, int]] = lambda: (Disk(), 0),
    ) -> None:
        """``on_message`` (peer, message, bytes of its frame) answers False when it has no room:
        the link is then closed.

        ``memory``: which disk we have, and how far our log goes on it.
        """
        self.config = config
        self.refusals = Refusals(REASONS)
        self._admission = Admission(config.node_id)
        self._cluster_id = cluster_id
        self._memory = memory
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._rng = rng
        self._tls = tls
        self._addresses: dict[str, tuple[str, int]] = {}
        self._dials_all = False
        self._links: dict[str, PeerLink] = {}
        self._unnamed: set[PeerLink] = set()
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._running = False

    @property
    def dropped(self) -> Counter[str]:
        """What was turned away or dropped, by reason."""
        return self.refusals.counts

    # -- for the driver

    def start(self) -> None:
        """Begin to dial."""
        self._running = True
        self._dial_missing()

    async def stop(self) -> None:
        """Close all links and end all dialling."""
        tasks = list(self._dialling.values())
        for task in tasks:
            task.cancel()
        self.close_links("stopped")
        await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self) -> asyncio.Protocol:
        """A protocol for one inbound connection whose first byte has been read already."""
        return PeerLink(self, None)

    def set_address(self, node_id: str, host: str, port: int) -> None:
        """Where a server can be dialled."""
        if node_id != self.config.node_id and self._addresses.get(node_id) != (host, port):
            self._addresses[node_id] = (host, port)
            self._dial_missing()

    def address(self, node_id: str) -> str:
        """The known address as host:port, or empty."""
        found = self._addresses.get(node_id)
        return f"{found[0]}:{found[1]}" if found else ""

    def set_members(
        self,
        members: Iterable[str] | None,
        removed: Iterable[str] = (),
        index: int = 0,
        returned: Iterable[str] = (),
    ) -> None:
        """Who may talk to us; None before we belong to a cluster: then anybody may.

        ``index`` is that of the configuration. ``removed``: ids that it does not have any more and
        that nothing can bring back; they are told so and refused. ``returned``: members that were
        removed before and are back; those that may not know it yet are told.
        """
        admission = self._admission
        admission.set_members(members, removed, returned, index)
        for peer, link in list(self._links.items()):
            if admission.is_removed(peer):
                link.send(encode(self.farewell()))
                link.close(REMOVED, abort=False)
            else:
                self._vouch(link)
        self._dial_missing()

    def _vouch(self, link: PeerLink) -> None:
        admission = self._admission
        if admission.returned:
            link.send(encode(Returned(admission.config_index, admission.returned)))

    def dial_all(self, wanted: bool) -> None:
        """Whether to dial those too who should dial us: they may know us no longer."""
        if wanted != self._dials_all:
            self._dials_all = wanted
            self._dial_missing()

    def farewell(self) -> Removed:
        """What a removed server is told."""
        return Removed(self._admission.config_index)

    def send(self, peer: str, message: Message) -> None:
        """Send to a peer if there is a link; losing a message is allowed."""
        link = self._links.get(peer)
        if link is not None:
            link.send(encode(message))

    def send_all(self, messages: Iterable[tuple[str, Message]]) -> None:
        """The same for several, each with the peer it is for."""
        entries: Sequence[Entry] = ()
        run = b""
        for peer, message in messages:
            if type(message) is Append and message.entries:
                if message.entries is not entries:
                    entries = message.entries
                    run = pack_run(entries)
                link = self._links.get(peer)
                if link is not None:
                    link.send(encode_append(message, run))
            else:
                self.send(peer, message)

    def close_links(self, reason: str) -> None:
        """Cut all links, and make no new ones."""
        self._running = False
        for link in [*self._links.values(), *self._unnamed]:
            link.close(reason)

    def linked(self, peer: str) -> bool:
        """Is there a link to the peer?"""
        return peer in self._links

    # -- for the links

    def hello(self, link: PeerLink, to: str) -> Hello:
        """Our side of the introduction."""
        disk, last_index = self._memory()
        return Hello(
            version=PROTOCOL_VERSION,
            cluster_id=self._cluster_id(),
            node_id=self.config.node_id,
            to_node_id=to,
            boot_nonce=link.nonce,
            config_index=self._admission.config_index,
            disk=disk,
            last_index=last_index,
        )

    def welcome(self, link: PeerLink) -> bool:
        """May one more connection begin? Our own are bounded by the address book."""
        if not self._running:
            return False
        if link.dialled is None:
            config = self.config
            waiting = [other.host for other in self._unnamed if other.dialled is None]
            if len(waiting) >= config.links_unnamed_max:
                self.count("too many connections", link)
                return False
            if waiting.count(link.host) >= config.links_unnamed_per_address_max:
                self.count("too many connections of one address", link)
                return False
        self._unnamed.add(link)
        return True

    def certificate_refusal(
        self, link: PeerLink, node_id: str | None = None, *, encrypted: bool = True
    ) -> str:
        """Why the holder of this certificate is not let in; empty if it is."""
        if self._tls is None:
            return ""
        if not encrypted:
            return "plain connection"
        return self._tls.peer_refusal(link.certificate, node_id)

    def refusal(self, link: PeerLink, hello: Hello) -> str:
        """Why this peer is not let in; empty if it is."""
        return self.certificate_refusal(link, hello.node_id) or self._admission.refusal(
            hello,
            cluster_id=self._cluster_id(),
            dialled=link.dialled,
            addresses=self._addresses,
        )

    def opened(self, link: PeerLink, hello: Hello) -> None:
        """The introduction is complete; a newer link replaces an older one to the same peer."""
        self._unnamed.discard(link)
        old = self._links.pop(link.peer, None)
        if old is not None:
            old.close("replaced")
            self._on_down(link.peer)
        self._links[link.peer] = link
        log.info("peer link up peer=%s dialled=%s", link.peer, link.dialled is not None)
        self._on_up(link.peer, hello)
        self._vouch(link)

    def received(self, link: PeerLink, message: Message | Returned, size: int) -> None:
        """A message came in over a link."""
        if isinstance(message, Returned):
            self._admission.heard(link.peer, message)
        elif not self._on_message(link.peer, message, size):
            link.close("inbox full")

    def count(self, reason: str, link: PeerLink, detail: str = "") -> None:
        """A link was closed by us, or not taken."""
        if reason in _OWN_DOING:
            self.refusals.counts[reason] += 1
            if reason != "stopped":
                log.info("peer link closed peer=%s reason=%s", link.peer or "?", reason)
            return
        names = "" if self._tls is None else self._tls.names_of(link.certificate)
        self._turn_away(reason, link.host, claims=link.claims, certificate=names, detail=detail)

    def _turn_away(
        self, reason: str, address: str, *, claims: str, certificate: str = "", detail: str = ""
    ) -> None:
        refusal = Refusal(
            reason=reason,
            address=address,
            claims=claims,
            certificate=certificate,
            detail=detail,
            at=time.time(),
        )
        silent = self.refusals.note(refusal)
        if silent is not None:
            log.warning(
                "peer refused reason=%s address=%s claims=%r certificate=%s detail=%s unlogged=%d",
                reason, address or "?", claims, certificate or "?", detail or "-", silent,
            )  # fmt: skip

    def lost(self, link: PeerLink) -> None:
        """A connection has ended, for whatever reason."""
        self._unnamed.discard(link)
        if link.peer and self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._admission.forget(link.peer)
            log.info("peer link down peer=%s", link.peer)
            self._on_down(link.peer)

    # -- dialling

    def _dial_missing(self) -> None:
        if not self._running:
            return
        for peer in self._addresses:
            if self._still_wanted(peer) and peer not in self._dialling:
                task = asyncio.get_running_loop().create_task(
                    self._keep_dialled(peer), name=f"lictor-raft-dial-{peer}"
                )
                self._dialling[peer] = task
                task.add_done_callback(functools.partial(self._dial_ended, peer))

    def _dial_ended(self, peer: str, task: asyncio.Task[None]) -> None:
        self._dialling.pop(peer, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("dialling ended peer=%s", peer, exc_info=task.exception())

    def _still_wanted(self, peer: str) -> bool:
        if self._admission.members is None:
            return True
        removed = peer in self._admission.removed
        return not removed and (self._dials_all or self.config.node_id > peer)

    async def _keep_dialled(self, peer: str) -> None:
        """Dial at once, then with growing pauses; after a link that lasted, at once again.

        Two that dial each other at the same moment each close one of their links. The pause after a
        short link has dice in it, so that they do not go on like that.
        """
        pause, loop = self.config.redial_min_s, asyncio.get_running_loop()
        while self._running and self._still_wanted(peer):
            existing = self._links.get(peer)
            if existing is not None:
                await asyncio.wait([existing.closed])
                continue
            dialled_at = loop.time()
            if await self._dial(peer) and loop.time() - dialled_at > self.config.redial_max_s:
                pause = self.config.redial_min_s
                continue
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, self.config.redial_max_s)

    async def _dial(self, peer: str) -> bool:
        """One attempt; True if the link came up (it has ended when this returns)."""
        host, port = self._addresses[peer]
        loop, tls = asyncio.get_running_loop(), self._tls
        try:
            async with asyncio.timeout(self.config.dial_timeout_s):
                _, link = await loop.create_connection(
                    lambda: PeerLink(self, peer),
                    host,
                    port,
                    ssl=None if tls is None else tls.peer_context(),
                    server_hostname=None if tls is None else tls.server_name,
                )
        except ssl.SSLError as error:
            self._turn_away("handshake failed", f"{host}:{port}", claims=peer, detail=str(error))
            return False
        except (OSError, TimeoutError):
            return False
        try:
            await link.closed
        finally:
            link.close("stopped")
        return bool(link.peer)
