"""GossipConfig: every timing and every limit of the package, with what it trades against what.

Profiles `lan`, `wan`, `local` and `dev` hold the figures of the field: the first three are the
reference library's defaults (gossip wire contract, section 3.15), `dev` is what Consul's `-dev`
agent uses on one machine. Nothing here reads a file or a flag.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gossip.errors import ConfigError

META_BYTES_MAX = 512  # tags with their magic byte; peers refuse more (contract, section 2.6)
NAME_BYTES_MAX = 128
KEY_LENGTHS = (16, 24, 32)
LABEL_BYTES_MAX = 255
# A compound counts to 255 and no broadcast is shorter than 20 bytes.
PACKET_BUDGET_BYTES_CEILING = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipConfig:
    """All that a ring member needs to know to start. Durations are seconds.

    The timings must agree across a ring: a member that probes much faster than its peers answer
    suspects them for nothing.
    """

    name: str
    """Identity in the ring; two members of one name fight until one of them stops."""
    bind_address: str = "0.0.0.0"  # noqa: S104  (the field's convention; advertise_address narrows it)
    bind_port: int = 7946
    """UDP and TCP share it. 0 lets the system choose; the local member then shows the real one."""
    advertise_address: str = ""
    """What peers are told; empty takes the bind address, or the host's own when that is a wildcard.
    Never a wildcard itself."""
    advertise_port: int = 0
    """0 means the port that was bound."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Spread with the membership; 512 bytes encoded in total."""
    keys: tuple[bytes, ...] = ()
    """AES keys of 16, 24 or 32 bytes; the first one encrypts, all of them decrypt. Empty: plain."""
    encrypt_verify_incoming: bool = True
    """False accepts plain packets although there are keys: only while a ring migrates."""
    encrypt_verify_outgoing: bool = True
    """False sends plain packets although there are keys: only while a ring migrates."""
    keyring_path: str = ""
    """File that a change of the keys is written to before it counts; empty keeps them in memory."""
    encryption_version: int = 1
    """1 seals bytes as they are; 0 pads them first, for members that speak memberlist 1. Both are
    always understood."""
    label: str = ""
    """Fence against a foreign ring on one network. Members older than memberlist 0.3 drop it."""
    compression: bool = True
    """LZW on what we send. What we receive is always decompressed: that is the sender's choice."""
    compression_min_bytes: int = 512
    """Shorter messages travel plain: LZW in Python costs more than those bytes are worth."""

    probe_interval_s: float = 1.0
    """One member is probed per interval: shorter detects sooner and costs packets and false
    alarms."""
    probe_timeout_s: float = 0.5
    """Direct ack must arrive within; a round trip at the 99th percentile, or members are asked to
    help for nothing."""
    indirect_checks: int = 3
    """Helpers asked when the direct probe got no answer."""
    tcp_pings: bool = True
    """Also try TCP then: tells lost or blocked UDP from a dead member."""
    suspicion_mult: int = 4
    """min suspicion = mult * max(1, log10 n) * probe_interval; also k = mult - 2 confirmations."""
    suspicion_max_timeout_mult: int = 6
    """max suspicion = this * min: how long a lone accuser waits for others to agree."""
    lha_probe: bool = True
    """Lifeguard: a member whose probes fail doubts itself and probes slower, and helpers report
    that they live. This and the two below are off only to compare with plain SWIM."""
    lha_suspicion: bool = True
    """Lifeguard: suspicions start long and shorten as others confirm. False: always the minimum."""
    suspicion_grace_mult: int = 1
    """A confirmation that comes late leaves the suspect so many probe intervals, stretched by our
    health, to refute. A member that was deaf hears all accusers at once and the refutations after
    them. 0: declare dead at once, as the reference does."""
    identity_tag: str = "id"
    """The tag by which an agent says which one it is, whatever its name; Consul's agents use `id`.
    Empty: no tag counts as an identity."""
    identity_reclaim_s: float = 3.0
    """A name whose holder has been dead for so long goes to another agent at another address, and
    at once to the holder itself. 0: only after the dead record is purged, as the reference does."""
    dead_node_reclaim_s: float = 0.0
    """memberlist's DeadNodeReclaimTime: a name dead for so long goes to whoever claims it. 0: off,
    as Serf has it."""
    unique_identities: bool = True
    """An identity that a live member bears is not let in under a second name."""
    push_pull_strict: bool = False
    """True: one record of versions that do not fit refuses the whole exchange, as the reference
    does. False: that record alone is left out."""
    push_pull_accuses: bool = False
    """True: a suspect in a peer's table is an accusation of our own, as in the reference, so that
    the word of one soon looks like that of many. False: it makes us probe the suspect next."""
    stall_min_s: float = 0.5
    """A pause of our own event loop from which on we blame ourselves: probes that were running are
    void, suspicions wait that much longer. 0: off, as in the reference."""
    stall_voids_max: int = 4
    """So many probes in a row, and extensions of one suspicion, are excused by stalls."""
    quarantine_s: float = 60.0
    """So long an accuser that was wrong about several members is not believed but checked by a
    probe of our own. 0: never, as in the reference."""
    quarantine_refuted_min: int = 3
    """Different members that it alone accused and that refuted, before it is quarantined."""
    quarantine_evidence_s: float = 120.0
    """Evidence about accusers is forgotten after."""
    quarantine_share_max: float = 0.2
    """At most this part of the ring is quarantined at a time, so that nobody can silence it."""
    buddy_system: bool = True
    """Lifeguard: a suspect hears of it with the next ping."""
    suspects_told: bool = True
    """Whom our own probe accuses is told by us and probed once more, out of turn. False: it hears
    by gossip and in its turn, as in the reference."""
    awareness_max: int = 8
    """The local health score stays below; a slow member probes up to this many times slower."""

    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    """Peers per gossip tick: more spreads faster and costs packets."""
    gossip_to_the_dead_s: float = 30.0
    """The dead still get gossip for so long, to let them refute; then their record is purged."""
    retransmit_mult: int = 4
    """A broadcast is sent mult * ceil(log10(n + 1)) times: more survives loss."""
    push_pull_interval_s: float = 30.0
    """Full state with one random member: heals what gossip missed. 0 turns it off."""
    tcp_timeout_s: float = 10.0
    """Connect, and each whole stream exchange, must finish within."""

    rejoin_path: str = ""
    """File of known peers for a fast rejoin after a restart; empty keeps none."""
    rejoin_after_leave: bool = False
    """Also rejoin after a graceful leave; otherwise a leave forgets the peers."""
    reconnect_interval_s: float = 30.0
    """How often a failed member may be tried again."""
    reconnect_timeout_s: float = 24 * 3600.0
    """Failed members are forgotten after."""
    networks: tuple[str, ...] = ()
    """CIDRs: a member at an address outside of all of them is not let in. Empty lets in any."""
    admits: Callable[[str, Mapping[str, str]], str] | None = None
    """Says why a member of this name and with these tags may not be in the ring, "" if it may. It
    is asked of each claim, so that one stranger keeps nobody out but itself."""
    reconnect_timeout_of: Callable[[Mapping[str, str]], float | None] | None = None
    """What a member's tags say of this for itself, in seconds; None where they say nothing."""
    tombstone_timeout_s: float = 24 * 3600.0
    """Members that left are forgotten after."""
    reap_interval_s: float = 15.0
    recent_intent_timeout_s: float = 300.0
    """How long a join or leave intent about an unknown member is kept."""
    broadcast_timeout_s: float = 5.0
    """A graceful leave waits at most this long for each of its two broadcasts."""
    leave_propagate_s: float = 1.0
    """After a leave we keep answering for so long, so that others hear of it."""
    query_timeout_mult: int = 16
    coordinates: bool = True
    """Network coordinates (Vivaldi) in acks; False sends none."""

    packet_budget_bytes: int = 1400
    """Bytes of messages per UDP packet: below the path's MTU. All members of a ring alike."""
    packet_bytes_max: int = 65_536
    packet_decompressed_bytes_max: int = 65_536
    nesting_max: int = 8
    """Compound in compress in compound ...: the depth at which a packet is dropped."""
    packet_parts_max: int = 1024
    """Messages out of one packet, over all nested compounds."""
    stream_bytes_max: int = 20 * 1024 * 1024
    stream_decompressed_bytes_max: int = 40 * 1024 * 1024
    stream_nodes_max: int = 1_048_576
    offload_min_bytes: int = 16_384
    """Streams longer than this are coded in a worker thread, so that the loop stays free."""
    streams_max: int = 128
    """Streams served at once; later ones are closed unread."""
    members_max: int = 65_536
    """Names beyond are ignored: a bound against a peer that invents members."""
    intents_max: int = 4096
    events_buffer: int = 512
    events_per_ltime_max: int = 256
    """Different events of one Lamport time that are remembered."""
    events_bytes_max: int = 4 * 1024 * 1024
    """Names and payloads of all remembered events; the oldest are forgotten first. They also travel
    in every exchange of states."""
    user_event_bytes_max: int = 512
    """Name and payload of an event that we fire, also once encoded."""
    user_event_received_bytes_max: int = 9 * 1024
    """Of one that others fire: no member may be configured to send longer ones."""
    query_bytes_max: int = 1024
    query_response_bytes_max: int = 1024
    query_filters_max: int = 16
    filter_states_max: int = 256
    """A tag filter is a pattern of at most so many states: what a search costs a character."""
    queries_running_max: int = 64
    """Queries of ours that wait for answers at once."""
    query_answers_max: int = 16_384
    """Answers and acks of one query of ours; and as many wait for a slow reader of them."""
    queries_answering_max: int = 64
    """Queries of others that the application works on at once."""
    keyring_keys_max: int = 32
    """Every foreign packet is tried with each key, so there may not be many."""
    key_changes_max: int = 64
    """Changes of the keys that wait for the disk."""
    key_rounds_max: int = 3
    """How often silent members are asked the same in one operation on the ring's keys."""
    broadcasts_max: int = 4096
    acks_pending_max: int = 4096
    """Relayed probes we wait for on behalf of others."""
    accusers_max: int = 256
    """Members whose accusations are kept account of."""
    refusals_max: int = 256
    """Names that were not let in and are remembered for `explain`."""
    explain_transitions_max: int = 16
    """Transitions remembered per member for `explain`."""

    def __post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > NAME_BYTES_MAX:
            raise ConfigError(f"name must have 1..{NAME_BYTES_MAX} bytes")
        if any(len(key) not in KEY_LENGTHS for key in self.keys):
            raise ConfigError("keys must have 16, 24 or 32 bytes")
        if len(self.label.encode()) > LABEL_BYTES_MAX:
            raise ConfigError(f"label must have at most {LABEL_BYTES_MAX} bytes")
        if not 0 <= self.bind_port <= 65_535 or not 0 <= self.advertise_port <= 65_535:
            raise ConfigError("a port must be 0..65535")
        if not 256 <= self.packet_budget_bytes <= PACKET_BUDGET_BYTES_CEILING:
            raise ConfigError(f"packet_budget_bytes must be 256..{PACKET_BUDGET_BYTES_CEILING}")
        if self.user_event_bytes_max > self.user_event_received_bytes_max:
            raise ConfigError("user_event_bytes_max must not exceed user_event_received_bytes_max")
        if self.encryption_version not in (0, 1):
            raise ConfigError("encryption_version must be 0 or 1")
        if self.probe_timeout_s > self.probe_interval_s:
            raise ConfigError("probe_timeout_s must not exceed probe_interval_s")
        for cidr in self.networks:
            try:
                ipaddress.ip_network(cidr, strict=False)
            except ValueError:
                raise ConfigError(f"no network: {cidr!r}") from None
        if min(self.probe_interval_s, self.probe_timeout_s, self.gossip_interval_s) <= 0:
            raise ConfigError("intervals must be positive")
        if min(self.identity_reclaim_s, self.dead_node_reclaim_s, self.stall_min_s) < 0:
            raise ConfigError("a waiting time must not be negative")
        if self.quarantine_s < 0 or self.quarantine_evidence_s <= 0:
            raise ConfigError("quarantine times must be positive, or quarantine_s 0 to turn it off")
        if self.quarantine_refuted_min < 2 or not 0 < self.quarantine_share_max <= 0.5:
            raise ConfigError("quarantine_refuted_min must be 2 or more, the share at most a half")
        if min(self.suspicion_mult, self.retransmit_mult, self.awareness_max) < 1:
            raise ConfigError("multipliers must be at least 1")
        if self.suspicion_grace_mult < 0:
            raise ConfigError("suspicion_grace_mult must not be negative")

    @staticmethod
    def lan(name: str, **changes: Any) -> GossipConfig:
        """One data centre: round trips of about a millisecond."""
        return dataclasses.replace(GossipConfig(name=name), **changes)

    @staticmethod
    def wan(name: str, **changes: Any) -> GossipConfig:
        """Between data centres: round trips up to seconds, so slower and more patient."""
        config = GossipConfig(
            name=name,
            tcp_timeout_s=30.0,
            suspicion_mult=6,
            push_pull_interval_s=60.0,
            probe_timeout_s=3.0,
            probe_interval_s=5.0,
            gossip_nodes=4,
            gossip_interval_s=0.5,
            gossip_to_the_dead_s=60.0,
        )
        return dataclasses.replace(config, **changes)

    @staticmethod
    def local(name: str, **changes: Any) -> GossipConfig:
        """Loopback: short waits, few copies."""
        config = GossipConfig(
            name=name,
            tcp_timeout_s=1.0,
            indirect_checks=1,
            retransmit_mult=2,
            suspicion_mult=3,
            push_pull_interval_s=15.0,
            probe_timeout_s=0.2,
            probe_interval_s=1.0,
            gossip_interval_s=0.1,
            gossip_to_the_dead_s=15.0,
        )
        return dataclasses.replace(config, **changes)

    @staticmethod
    def dev(name: str, **changes: Any) -> GossipConfig:
        """Consul's `-dev` agent: LAN figures with everything ten times as quick."""
        config = GossipConfig(
            name=name,
            probe_interval_s=0.1,
            probe_timeout_s=0.1,
            gossip_interval_s=0.1,
            suspicion_mult=3,
        )
        return dataclasses.replace(config, **changes)
