"""Go's words for a connection that did not come about; clients of Consul know these texts."""

from __future__ import annotations

import errno

_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by peer",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EACCES: "permission denied",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
}


def dial_error(address: str, error: OSError, network: str = "tcp") -> str:
    """The text for a failed connect to ``host:port``."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"dial {network} {address}: i/o timeout"
    word = _WORDS.get(error.errno or 0)
    if word is None:
        return f"dial {network} {address}: {error.strerror or error}"
    return f"dial {network} {address}: connect: {word}"


def lookup_error(host: str, network: str = "tcp") -> str:
    """The text for a name without an address."""
    return f"dial {network}: lookup {host}: no such host"


def join_host_port(host: str, port: int) -> str:
    """``host:port``, an IPv6 literal in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(address: str, network: str = "tcp") -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``. Raises ValueError with Go's text."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        raise ValueError(f"dial {network}: address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"dial {network}: address {address}: too many colons in address")
    if not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"dial {network}: lookup {network}/{port}: unknown port")
    return host or "127.0.0.1", int(port)
