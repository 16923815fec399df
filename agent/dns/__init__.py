"""The DNS face: names to queries, answers to records, over UDP and TCP (DNS contract)."""

from __future__ import annotations

from agent.dns.server import DnsServer

__all__ = ["DnsServer"]
