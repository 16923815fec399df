"""The rules as text, and as the kernel takes them in a network namespace of its own."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.redirect import apply, rules
from agent.redirect.rules import BadRules, Wanted, check

WANTED = Wanted(
    proxy_uid="65534",
    inbound_port=21000,
    exclude_inbound_ports=(22, 9090),
    exclude_outbound_ports=(25,),
    exclude_outbound_cidrs=("10.1.2.3/8", "fd00::/8"),
    exclude_uids=("1234",),
)

PLAN_IP = """\
table ip lictor
delete table ip lictor
table ip lictor {
	set excluded_users {
		type uid
		elements = { "1234" }
	}
	set excluded_inbound_ports {
		type inet_service
		elements = { 22, 9090 }
	}
	set excluded_outbound_ports {
		type inet_service
		elements = { 25 }
	}
	set excluded_outbound_networks {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8 }
	}
	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid "65534" return
		meta l4proto != tcp return
		meta skuid @excluded_users return
		tcp dport @excluded_outbound_ports return
		ip daddr @excluded_outbound_networks return
		ip daddr 127.0.0.1/32 return
		meta l4proto tcp redirect to :15001
	}
	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		meta l4proto != tcp return
		tcp dport @excluded_inbound_ports return
		meta l4proto tcp redirect to :21000
	}
}
"""


def test_the_plan_of_nftables() -> None:
    script = rules.nftables(check(WANTED))
    assert script.startswith(PLAN_IP)
    assert "ip6 daddr ::1/128 return" in script
    assert "fd00::/8" in script.removeprefix(PLAN_IP)


def test_the_plan_of_iptables() -> None:
    plan = [" ".join(each) for each in rules.iptables(check(WANTED))]
    assert plan[0] == "-t nat -N LICTOR_PROXY_INBOUND"
    assert "-t nat -A LICTOR_PROXY_OUTPUT -d 10.0.0.0/8 -j RETURN" in plan
    own = plan.index("-t nat -A LICTOR_PROXY_OUTPUT -m owner --uid-owner 65534 -j RETURN")
    assert own < plan.index("-t nat -A LICTOR_PROXY_OUTPUT -p tcp -j LICTOR_PROXY_REDIRECT")
    assert plan[-1] == "-t nat -A PREROUTING -p tcp -j LICTOR_PROXY_INBOUND"
    assert not any("fd00" in each for each in plan)
    assert any("fd00" in word for each in rules.iptables(check(WANTED), version=6) for word in each)


@pytest.mark.parametrize(
    "wrong",
    [
        Wanted(proxy_uid=""),
        Wanted(proxy_uid='0" accept; #'),
        Wanted(proxy_uid="1", exclude_uids=("a b",)),
        Wanted(proxy_uid="1", exclude_outbound_cidrs=("10.0.0.0/99",)),
        Wanted(proxy_uid="1", exclude_inbound_ports=(0,)),
    ],
)
def test_what_is_no_rule_is_refused(wrong: Wanted) -> None:
    with pytest.raises(BadRules):
        check(wrong)


@given(
    st.lists(st.integers(1, 65535), max_size=4),
    st.lists(st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen // 2}"), max_size=3),
    st.from_regex(r"\A[a-z_][a-z0-9_-]{0,20}\Z"),
)
def test_nothing_that_is_excluded_is_lost(ports: list[int], cidrs: list[str], uid: str) -> None:
    wanted = check(
        Wanted(proxy_uid=uid, inbound_port=1, exclude_outbound_ports=tuple(ports),
               exclude_outbound_cidrs=tuple(cidrs))
    )  # fmt: skip
    script = rules.nftables(wanted)
    assert script.count(f'meta skuid "{uid}" return') == 2
    for cidr in cidrs:
        assert str(ipaddress.ip_network(cidr, strict=False)) in script
    for port in ports:
        assert sum(f"--dport {port}" in " ".join(each) for each in rules.iptables(wanted)) >= 1


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace of our own, as a path."""
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"up\n":
            pytest.skip("no network namespaces without CAP_NET_ADMIN")
        yield f"/proc/{holder.pid}/ns/net"
    finally:
        holder.kill()
        holder.communicate()


#: Listens on a port, connects to an address that nobody has, and tells where that led.
PROBE = """
import os, socket, struct, sys
listener = socket.create_server(("127.0.0.1", 15001))
listener.settimeout(5)
uid = int(sys.argv[1])
if uid:
    os.setuid(uid)
client = socket.socket()
client.settimeout(1.5)  # whoever is led is connected at once
try:
    client.connect(("240.0.0.1", 80))
except OSError as error:
    print("not led", type(error).__name__)
    raise SystemExit
accepted, _ = listener.accept()
raw = accepted.getsockopt(socket.SOL_IP, 80, 16)
port, address = struct.unpack("!2xH4s8x", raw)
print("led from", socket.inet_ntoa(address), port)
"""


def led(netns: str, uid: int) -> str:
    done = subprocess.run(
        ["nsenter", f"--net={netns}", sys.executable, "-c", PROBE, str(uid)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_the_kernel_leads_connections_and_stops_when_it_is_told(backend: str) -> None:
    needed = "nft" if backend == "nftables" else "iptables"
    if os.geteuid() != 0 or not shutil.which(needed) or not shutil.which("unshare"):
        pytest.skip(f"needs CAP_NET_ADMIN and {needed}")
    wanted = check(WANTED)
    with namespace() as netns:
        subprocess.run(
            ["nsenter", f"--net={netns}", "ip", "route", "add", "default", "dev", "lo"], check=True
        )
        assert led(netns, 0).startswith("not led")
        for _ in range(2):  # a second time in the place of the first
            if backend == "nftables":
                apply.nftables(rules.nftables(wanted), netns=netns)
            else:
                apply.iptables(wanted, netns=netns)
            assert led(netns, 0) == "led from 240.0.0.1 80"
        assert led(netns, 65534).startswith("not led"), "the sidecar's own user is left alone"
        assert led(netns, 1234).startswith("not led"), "so is whoever is excluded"
        if backend == "nftables":
            apply.nftables(rules.nftables_undo(), netns=netns)
            apply.nftables(rules.nftables_undo(), netns=netns)
        else:
            apply.iptables_undo(netns=netns)
        assert led(netns, 0).startswith("not led")


def test_bad_rules_change_nothing() -> None:
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        pytest.skip("needs CAP_NET_ADMIN and nft")
    with namespace() as netns:
        apply.nftables(rules.nftables(check(WANTED)), netns=netns)
        with pytest.raises(apply.NotApplied):
            apply.nftables(rules.nftables_undo() + "table ip x { nonsense }\n", netns=netns)
        done = subprocess.run(
            ["nsenter", f"--net={netns}", "nft", "list", "tables"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "table ip lictor" in done.stdout
