"""The HTTP client of all commands (cli-config contract, A1: HTTP options).

On the standard library: importing a client framework would cost a command more time than its
request. Flags beat environment. Errors carry the words of Go's client, which scripts look for.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import sys
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agent.cli.flags import Parsed, parse_bool

if TYPE_CHECKING:
    import ssl

DEFAULT_ADDRESS = "127.0.0.1:8500"
CONNECT_TIMEOUT_S = 10.0
#: Longer than any request that a server holds by itself.
ANSWER_TIMEOUT_S = 660.0
BODY_BYTES_MAX = 512 * 1024 * 1024
COPY_BYTES = 256 * 1024
_PATH_SAFE = "/:@!$&'()*+,;=~"

Query = Sequence[tuple[str, str]]


class Readable(Protocol):
    """What a body is read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """What a body is written to."""

    def write(self, data: Any, /) -> int: ...


class SetupError(Exception):
    """The options for the connection cannot be used."""


class ClientError(Exception):
    """A request failed or was refused. ``status`` is 0 when there was no answer."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to reach the agent. ``socket_path`` beats host and port."""

    scheme: str = "http"
    host: str = "127.0.0.1"
    port: int = 8500
    socket_path: str = ""
    prefix: str = ""
    token: str = ""
    authorization: str = ""
    tls: ssl.SSLContext | None = None
    tls_server_name: str = ""
    datacenter: str = ""
    stale: bool = False
    namespace: str = ""
    partition: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ClientError."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ClientError(f"invalid JSON in the agent's answer: {error}") from None


def read_options(flags: Parsed, environ: Mapping[str, str]) -> Options:
    """The options of flags and environment. Raises SetupError."""

    def given(flag: str, variable: str) -> str:
        return flags.text(flag) or environ.get(variable, "")

    address = given("http-addr", "CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS
    scheme, rest = _split_scheme(address)
    if _wants_tls(environ):
        scheme = "https" if scheme == "http" else scheme
    socket_path, host, port, prefix = "", "", 0, ""
    if scheme == "unix":
        scheme, socket_path = "http", rest
    else:
        authority, slash, path = rest.partition("/")
        prefix = (slash + path).rstrip("/")
        host, port = _host_port(authority, 443 if scheme == "https" else 8500)
    auth = environ.get("CONSUL_HTTP_AUTH", "")
    token_file = given("token-file", "CONSUL_HTTP_TOKEN_FILE")
    file_token = _read_token(token_file) if token_file else ""
    name = given("tls-server-name", "CONSUL_TLS_SERVER_NAME")
    return Options(
        scheme=scheme,
        host=host,
        port=port,
        socket_path=socket_path,
        prefix=prefix,
        token=file_token or given("token", "CONSUL_HTTP_TOKEN"),
        authorization="Basic " + base64.b64encode(auth.encode()).decode() if auth else "",
        tls=_tls(given, environ, needed=scheme == "https"),
        tls_server_name=name,
        datacenter=flags.text("datacenter"),
        stale=bool(flags.values.get("stale")),
        namespace=given("namespace", "CONSUL_NAMESPACE"),
        partition=given("partition", "CONSUL_PARTITION"),
    )


def _split_scheme(address: str) -> tuple[str, str]:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return "http", address
    if scheme not in {"http", "https", "unix"}:
        raise SetupError(f"Unknown protocol scheme: {scheme}")
    return scheme, rest


def _host_port(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        return authority.strip("[]"), default
    if not port.isascii() or not port.isdigit() or not int(port) < 65536:
        raise SetupError(f'invalid port "{port}" in address {authority}')
    return host.strip("[]") or "127.0.0.1", int(port)


def _wants_tls(environ: Mapping[str, str]) -> bool:
    text = environ.get("CONSUL_HTTP_SSL", "")
    if not text:
        return False
    value = parse_bool(text)
    if value is None:
        print(f"[WARN] api: could not parse CONSUL_HTTP_SSL: {text}", file=sys.stderr)
    return bool(value)


def _read_token(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"Error loading token file: {open_error(path, error)}") from None


def open_error(path: str, error: Exception) -> str:
    """Go's words for a file that cannot be opened."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"open {path}: {(reason or str(error)).lower()}"


def _tls(given: Any, environ: Mapping[str, str], *, needed: bool) -> ssl.SSLContext | None:
    ca_file, ca_path = given("ca-file", "CONSUL_CACERT"), given("ca-path", "CONSUL_CAPATH")
    cert = given("client-cert", "CONSUL_CLIENT_CERT")
    key = given("client-key", "CONSUL_CLIENT_KEY")
    # Wrong paths are told also where no TLS is spoken: the user meant something by them.
    for path, prefix in ((ca_file, "Error loading CA File: "), (cert, ""), (key, "")):
        _check_readable(path, prefix)
    if ca_path and not os.path.isdir(ca_path):
        raise SetupError(f"Error loading CA Path: {ca_path}: no such file or directory")
    if not needed:
        return None
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_file or None, capath=ca_path or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except (ssl.SSLError, OSError) as error:
        raise SetupError(f"Error loading certificates: {error}") from None
    if parse_bool(environ.get("CONSUL_HTTP_SSL_VERIFY", "")) is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_readable(path: str, prefix: str) -> None:
    if not path:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise SetupError(prefix + open_error(path, error)) from None


class Client:
    """Sends one request at a time to the agent."""

    __slots__ = ("_options",)

    def __init__(self, options: Options) -> None:
        self._options = options

    def get(self, path: str, query: Query = ()) -> Response:
        """GET; any status. Raises ClientError when there is no answer."""
        return self.request("GET", path, query)

    def put(self, path: str, query: Query = (), body: bytes | None = None) -> Response:
        """PUT; any status."""
        return self.request("PUT", path, query, body)

    def delete(self, path: str, query: Query = ()) -> Response:
        """DELETE; any status."""
        return self.request("DELETE", path, query)

    def read(self, path: str, query: Query = ()) -> Any:
        """GET the JSON of a 200 answer. Raises ClientError for everything else."""
        return expect(self.get(path, query)).json()

    def download(self, path: str, out: Writable, query: Query = ()) -> None:
        """GET the body of a 200 answer into a file, of any size. Raises ClientError."""
        expect(self.request("GET", path, query, out=out))

    def follow(self, path: str, query: Query, take: Callable[[bytes], None]) -> None:
        """GET a stream: give each piece of a 200 answer as it comes, until the agent ends it.

        Raises ClientError, and what ``take`` raises, which ends the stream too.
        """
        expect(self.request("GET", path, query, take=take))

    def upload(self, path: str, body: Readable, size: int, query: Query = ()) -> Response:
        """PUT a file; any status."""
        return self.request("PUT", path, query, body, size=size)

    def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: bytes | Readable | None = None,
        *,
        size: int | None = None,
        out: Writable | None = None,
        take: Callable[[bytes], None] | None = None,
    ) -> Response:
        """One request. Raises ClientError with Go's words when it cannot be sent or answered.

        ``size`` is that of a body that is a file; the body of a 200 answer goes to ``out``, or to
        ``take`` piece by piece as it comes.
        """
        target = self._target(path, query)

        def consume(answer: http.client.HTTPResponse, connected: socket.socket) -> None:
            if out is not None:
                _copy(answer, out)
            elif take is not None:
                connected.settimeout(None)  # a stream may be silent
                while piece := answer.read1(COPY_BYTES):
                    take(piece)

        try:
            return self._send(method, target, body, size, consume)
        except (OSError, http.client.HTTPException) as error:
            where = f'{method.capitalize()} "{self._base()}{target}"'
            raise ClientError(f"{where}: {self._reason(error)}") from None

    def _target(self, path: str, query: Query) -> str:
        options = self._options
        pairs = list(query)
        for name, value in (
            ("dc", options.datacenter),
            ("ns", options.namespace),
            ("partition", options.partition),
        ):
            if value:
                pairs.append((name, value))
        if options.stale:
            pairs.append(("stale", ""))
        quoted = options.prefix + urllib.parse.quote(
            path, safe=_PATH_SAFE, errors="surrogateescape"
        )
        # Go sorts parameters by name; repeated ones keep their order.
        pairs.sort(key=lambda pair: pair[0])
        return f"{quoted}?{urllib.parse.urlencode(pairs)}" if pairs else quoted

    def _base(self) -> str:
        options = self._options
        if options.socket_path:
            return f"http://{urllib.parse.quote(options.socket_path, safe='')}"
        return f"{options.scheme}://{self._authority()}"

    def _authority(self) -> str:
        host = self._options.host
        return f"[{host}]:{self._options.port}" if ":" in host else f"{host}:{self._options.port}"

    def _send(
        self,
        method: str,
        target: str,
        body: bytes | Readable | None,
        size: int | None,
        consume: Callable[[http.client.HTTPResponse, socket.socket], None],
    ) -> Response:
        options = self._options
        headers = {"Accept-Encoding": "identity"}
        if size is not None:
            headers["Content-Length"] = str(size)
        if options.token:
            headers["X-Consul-Token"] = options.token
        if options.authorization:
            headers["Authorization"] = options.authorization
        connection = http.client.HTTPConnection(
            "localhost" if options.socket_path else options.host, options.port or 80
        )
        try:
            connection.sock = connected = self._connect()
            try:
                connection.request(method, target, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                if size is None:
                    raise
                # A body that is refused is not read to its end: the answer says why.
            answer = connection.getresponse()
            if answer.status == 200:
                consume(answer, connected)
            data = answer.read(BODY_BYTES_MAX + 1)
        finally:
            connection.close()
        if len(data) > BODY_BYTES_MAX:
            raise http.client.HTTPException(f"answer is larger than {BODY_BYTES_MAX} bytes")
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, names, data)

    def _connect(self) -> socket.socket:
        options = self._options
        if options.socket_path:
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(CONNECT_TIMEOUT_S)
            connected.connect(options.socket_path)
        else:
            connected = socket.create_connection((options.host, options.port), CONNECT_TIMEOUT_S)
        connected.settimeout(ANSWER_TIMEOUT_S)
        if options.tls is None:
            return connected
        return options.tls.wrap_socket(
            connected, server_hostname=options.tls_server_name or options.host
        )

    def _reason(self, error: Exception) -> str:
        options = self._options
        dial = f"dial unix {options.socket_path}" if options.socket_path else "dial tcp"
        if isinstance(error, socket.gaierror):
            return f"{dial}: lookup {options.host}: no such host"
        if isinstance(error, http.client.RemoteDisconnected):
            return "EOF"
        if isinstance(error, TimeoutError):
            return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
        if type(error).__module__ == "ssl":
            if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER" in str(error):
                return "http: server gave HTTP response to HTTPS client"
            return f"tls: {error}"
        if isinstance(error, OSError) and error.errno:
            where = dial if options.socket_path else f"{dial} {self._authority()}"
            return f"{where}: connect: {os.strerror(error.errno).lower()}"
        return str(error) or type(error).__name__


def _copy(answer: http.client.HTTPResponse, out: Writable) -> None:
    """The body into a file. Raises HTTPException when it is shorter than announced."""
    announced = answer.length
    copied = 0
    while piece := answer.read(COPY_BYTES):
        out.write(piece)
        copied += len(piece)
    if announced is not None and copied != announced:
        raise http.client.HTTPException("unexpected EOF")


def expect(response: Response) -> Response:
    """The response when it is a 200. Raises ClientError with status and body."""
    if response.status != 200:
        raise ClientError(
            f"Unexpected response code: {response.status} "
            f"({response.body.decode('utf-8', 'replace')})",
            status=response.status,
        )
    return response
