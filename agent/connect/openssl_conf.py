"""Has OpenSSL prefer AES-128 in the TLS 1.3 of sidecars (mesh contract D.12, ADR 99).

Python 3.11 cannot name the suites of TLS 1.3. OpenSSL reads them from a configuration file,
and an environment variable says which: a sidecar is started with a file of its own, which takes in
the host's. AES-256 costs a fifth more for each byte and nothing of the mesh needs it.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("lictor.agent.connect.openssl")

VARIABLE = "OPENSSL_CONF"
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#: A host's configuration is some kB; what is longer is left as it is.
HOST_MAX_BYTES = 262_144

_SECTION = re.compile(r"\[\s*([^\]\s]+)\s*\]")
_VALUE = re.compile(r"([^=\s]+)\s*=\s*(\S+)")


def with_suites(host: str, path: str) -> str | None:
    """A configuration that takes in that of the host (its text, and where it is; both may be "")
    and names the suites. None: the host has its own opinion of them, or may have one in a file that
    is included (FIPS, a system's crypto policy)."""
    found = _read(host)
    if found is None or any(key == "Ciphersuites" for _, key in found):
        return None
    lines = [f".include {path}"] if path else []
    section = ""
    # config(5): a name outside of sections leads to a section, that to another, and so on. What
    # the host has of this way is followed, the rest is ours.
    for key in ("openssl_conf", "ssl_conf", "system_default"):
        leads_to = found.get((section, key), "")
        if not leads_to:
            leads_to = f"lictor_{key}"
            lines += [f"[{section or 'default'}]", f"{key} = {leads_to}"]
        section = leads_to
    return "\n".join([*lines, f"[{section}]", f"Ciphersuites = {SUITES}", ""])


def _read(text: str) -> dict[tuple[str, str], str] | None:
    """Values by section and key; None where files are included, which may say anything."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith(".include"):
            return None
        if begins := _SECTION.fullmatch(line):
            section = "" if begins[1] == "default" else begins[1]
        elif value := _VALUE.match(line):
            found[section, value[1]] = value[2]
    return found


def variables(folder: Path | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment of a sidecar has more; the file is written to ``folder``. Nothing where
    there is no folder, where somebody has named a file already, or where the host decides."""
    if folder is None or VARIABLE in environ:
        return {}
    of_host = Path(ssl.get_default_verify_paths().openssl_cafile).with_name("openssl.cnf")
    try:
        there = of_host.is_file()
        if there and of_host.stat().st_size > HOST_MAX_BYTES:
            return {}
        text = with_suites(of_host.read_text() if there else "", str(of_host) if there else "")
        if text is None:
            return {}
        path = folder / "openssl.cnf"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(text)
    except (OSError, UnicodeDecodeError) as error:
        log.info("sidecars use OpenSSL's own order of suites error=%s", error)
        return {}
    return {VARIABLE: str(path)}
