"""`tls`: an authority for TLS between agents, and certificates from it, as files."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

if TYPE_CHECKING:
    from agent.tls_authority import CertificateRequest

_CERT_MODE, _KEY_MODE = 0o644, 0o600
#: Certificates of one kind in one folder.
_NUMBERS_MAX = 10_000
#: What -ca and -key say where the domain is to be put in.
_DOMAIN = "#DOMAIN#"


def _ca_create(call: Call) -> int:
    from datetime import UTC, datetime
    from secrets import randbits

    from agent import tls_authority as authority

    flags = call.flags
    domain = flags.text("domain")
    names = (f"{domain}-agent-ca.pem", f"{domain}-agent-ca-key.pem")
    permitted: tuple[str, ...] = ()
    if flags["name-constraint"]:
        permitted = tuple(
            dict.fromkeys([*flags["additional-name-constraint"], domain, "localhost"])
        )
    try:
        authority.check_name(domain, "domain")
        for name in names:
            if os.path.lexists(name):
                return call.fail(f"{name} already exists.")
        key = authority.generate_key()
        made = authority.make_authority(
            authority.AuthorityRequest(
                domain=domain,
                days=flags["days"],
                common_name=flags.text("common-name"),
                cluster_id=flags.text("cluster-id"),
                permitted=permitted,
            ),
            key=key,
            serial=_serial(randbits(authority.SERIAL_BITS)),
            now=datetime.now(UTC),
        )
    except authority.IssueError as error:
        return call.fail(f"Error: {error}")
    return _save(call, names, authority.certificate_pem(made), authority.key_pem(key))


def _cert_create(call: Call) -> int:
    from datetime import UTC, datetime
    from secrets import randbits

    from agent import tls_authority as authority

    flags = call.flags
    roles = [r for r in (authority.SERVER, authority.CLIENT, authority.CLI) if flags[r]]
    if len(roles) != 1:
        return call.fail("Please provide either -server, -client, or -cli")
    ca_file, key_file = (
        flags.text(name).replace(_DOMAIN, flags.text("domain")) for name in ("ca", "key")
    )
    try:
        request = _request(call, roles[0])
        authority.dns_names(request)
        names = _free_names(request)
        pems = [_read("CA", ca_file), _read("CA key", key_file)]
    except (authority.IssueError, OSError) as error:
        return call.fail(f"Error: {error}")
    if request.role == authority.SERVER:
        call.say(
            "==> WARNING: Whoever holds a server's certificate can become a server and read and\n"
            "    change everything in the cluster. Give the key to no other host than its own."
        )
    call.say(f"==> Using {ca_file} and {key_file}")
    try:
        signer = authority.read_signer(*pems)
        key = authority.generate_key()
        made = authority.issue(
            request,
            signer,
            key=key,
            serial=_serial(randbits(authority.SERIAL_BITS)),
            now=datetime.now(UTC),
        )
    except authority.IssueError as error:
        return call.fail(f"Error: {error}")
    return _save(call, names, authority.certificate_pem(made), authority.key_pem(key))


def _request(call: Call, role: str) -> CertificateRequest:
    from agent import tls_authority as authority

    flags = call.flags
    return authority.CertificateRequest(
        role=role,
        datacenter=flags.text("dc"),
        domain=flags.text("domain"),
        days=flags["days"],
        node=flags.text("node"),
        node_id=flags.text("node-id"),
        dns_names=tuple(name.strip() for name in flags["additional-dnsname"]),
        addresses=tuple(
            authority.read_address(each) for each in flags["additional-ipaddress"] if each
        ),
    )


def _free_names(request: CertificateRequest) -> tuple[str, str]:
    """The first number of which neither file is there."""
    for number in range(_NUMBERS_MAX):
        stem = f"{request.datacenter}-{request.role}-{request.domain}-{number}"
        names = (f"{stem}.pem", f"{stem}-key.pem")
        if not any(os.path.lexists(name) for name in names):
            return names
    raise OSError("could not find a filename that does not exist already")


def _serial(drawn: int) -> int:
    return drawn or 1


def _read(what: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(f"reading {what}: open {path}: {error.strerror}") from None


def _save(call: Call, names: tuple[str, str], certificate: bytes, key: bytes) -> int:
    """Both files or none; what is there already is never touched."""
    made: list[str] = []
    # The key first: a certificate that is there has a key.
    for name, data, mode in ((names[1], key, _KEY_MODE), (names[0], certificate, _CERT_MODE)):
        try:
            _create(name, data, mode, made)
        except OSError as error:
            for each in made:
                with contextlib.suppress(OSError):
                    os.unlink(each)
            return call.fail(f"Error: writing {name}: {error.strerror}")
    for name in names:
        call.say(f"==> Saved {name}")
    return 0


def _create(name: str, data: bytes, mode: int, made: list[str]) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    made.append(name)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


COMMANDS = {
    ("tls", "ca", "create"): Command(
        usage="tls ca create [options]",
        help="Makes an authority for TLS between agents: a certificate and its key, as files in\n"
        "this folder. Keep the key off the hosts of the agents. Existing files are kept.",
        run=_ca_create,
        http=False,
        flags=(
            Flag(
                "additional-name-constraint",
                "Name that the CA may vouch for, too, with all below it; with -name-constraint."
                " May be repeated.",
                Kind.LIST,
            ),
            Flag("cluster-id", "Puts a URI of this cluster's trust domain into the certificate."),
            Flag("common-name", "Common name of the CA; Consul Agent CA and its serial number."),
            Flag("days", "Days that the CA is valid for.", Kind.INT, default=1825),
            Flag("domain", "Domain of the datacenter.", default="consul"),
            Flag(
                "name-constraint",
                "Let the CA vouch for names of the domain and localhost only.",
                Kind.BOOL,
            ),
        ),
    ),
    ("tls", "cert", "create"): Command(
        usage="tls cert create (-server | -client | -cli) [options]",
        help="Makes a certificate and its key, as files in this folder, numbered from 0 on.\n"
        "-server is for servers: whoever holds it can be one. -client is for client agents, -cli\n"
        "for the command line. Existing files are kept.",
        run=_cert_create,
        http=False,
        flags=(
            Flag("additional-dnsname", "One more DNS name. May be repeated.", Kind.LIST),
            Flag("additional-ipaddress", "One more IP address. May be repeated.", Kind.LIST),
            Flag("ca", "Certificate of the CA.", default=f"{_DOMAIN}-agent-ca.pem"),
            Flag("cli", "For the command line.", Kind.BOOL),
            Flag("client", "For a client agent.", Kind.BOOL),
            Flag("days", "Days that the certificate is valid for.", Kind.INT, default=365),
            Flag("dc", "Datacenter.", default="dc1"),
            Flag("domain", "Domain of the datacenter.", default="consul"),
            Flag("key", "Key of the CA.", default=f"{_DOMAIN}-agent-ca-key.pem"),
            Flag("node", "With -server: node name, for NAME.server.DATACENTER.DOMAIN."),
            Flag(
                "node-id",
                "With -server: binds the certificate to this node id (lictor's own).",
            ),
            Flag("server", "For a server.", Kind.BOOL),
        ),
    ),
}
