"""What has to be written into another DNS server so that it passes our domain on to an agent.

Pure: one text for each program, from the domain and the agent's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Where an agent answers DNS, and for which domain (without the last dot)."""

    domain: str
    host: str
    port: int

    @property
    def bracketed(self) -> str:
        """Address and port as URLs have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of configuration: which file it belongs to, and where the program usually listens."""

    file: str
    text: str
    listens: str = "127.0.0.1"
    then: str


def _resolved(agent: Agent) -> Snippet:
    # A port of its own in DNS= takes systemd 246 or newer.
    text = f"""\
[Resolve]
DNS={agent.bracketed}
DNSSEC=false
Domains=~{agent.domain}
"""
    return Snippet(
        file=f"/etc/systemd/resolved.conf.d/{agent.domain}.conf",
        text=text,
        listens="127.0.0.53",
        then="systemctl restart systemd-resolved",
    )


def _dnsmasq(agent: Agent) -> Snippet:
    return Snippet(
        file=f"/etc/dnsmasq.d/{agent.domain}.conf",
        text=f"server=/{agent.domain}/{agent.host}#{agent.port}\n",
        then="systemctl restart dnsmasq",
    )


def _unbound(agent: Agent) -> Snippet:
    text = f"""\
server:
  do-not-query-localhost: no
  domain-insecure: "{agent.domain}"
forward-zone:
  name: "{agent.domain}"
  forward-addr: {agent.host}@{agent.port}
  forward-no-cache: yes
"""
    return Snippet(
        file=f"/etc/unbound/unbound.conf.d/{agent.domain}.conf",
        text=text,
        then="systemctl reload unbound",
    )


def _bind(agent: Agent) -> Snippet:
    text = f"""\
# In options {{ }}: validate-except {{ "{agent.domain}"; }};
zone "{agent.domain}" IN {{
  type forward;
  forward only;
  forwarders {{ {agent.host} port {agent.port}; }};
}};
"""
    return Snippet(file="/etc/bind/named.conf.local", text=text, then="rndc reconfig")


def _coredns(agent: Agent) -> Snippet:
    text = f"""\
{agent.domain}:53 {{
  errors
  forward . {agent.bracketed}
}}
"""
    return Snippet(file="Corefile", text=text, then="send SIGUSR1 to coredns")


def _knot(agent: Agent) -> Snippet:
    text = (
        f"policy.add(policy.suffix(policy.STUB('{agent.host}@{agent.port}'), "
        f"policy.todnames({{'{agent.domain}.'}})))\n"
    )
    return Snippet(
        file="/etc/knot-resolver/kresd.conf", text=text, then="systemctl restart 'kresd@*'"
    )


#: Programs that can be set up, by the word that names them.
PROGRAMS: Mapping[str, Callable[[Agent], Snippet]] = {
    "resolved": _resolved,
    "dnsmasq": _dnsmasq,
    "unbound": _unbound,
    "bind": _bind,
    "coredns": _coredns,
    "knot": _knot,
}
