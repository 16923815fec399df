"""`login` and `logout`: a token for a foreign identity, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from agent.cli.acl_calls import post
from agent.cli.client import ClientError, open_error
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_NO_WORDS = "Should have no non-flag arguments."


def _login(call: Call) -> int:
    flags = call.flags
    if call.args:
        return call.fail(_NO_WORDS)
    by_browser = flags.text("type") == "oidc"
    for name in ("method", "token-sink-file", *(() if by_browser else ("bearer-token-file",))):
        if not flags.text(name):
            return call.fail(f"Missing required '-{name}' flag")
    if by_browser:
        return _by_browser(call)
    source = flags.text("bearer-token-file")
    try:
        bearer = Path(source).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        return call.fail(open_error(source, error))
    if not bearer:
        return call.fail(f"No bearer token found in {source}")
    asked: dict[str, Any] = {"AuthMethod": flags.text("method"), "BearerToken": bearer}
    if flags["meta"]:
        asked["Meta"] = flags["meta"]
    try:
        found = post(call.client(), "/v1/acl/login", json.dumps(asked).encode()).json()
    except ClientError as error:
        return call.fail(f"Error logging in: {error}")
    return _keep(call, str(found["SecretID"]))


def _by_browser(call: Call) -> int:
    from agent.cli.login_oidc import LoginError, log_in

    flags = call.flags
    if flags.text("bearer-token-file"):
        return call.fail("-bearer-token-file cannot be used with -type=oidc")
    try:
        secret = log_in(
            call,
            method=flags.text("method"),
            listen=flags.text("oidc-callback-listen-addr"),
            meta=flags["meta"] or {},
        )
    except (ClientError, LoginError) as error:
        return call.fail(f"Error logging in: {error}")
    return _keep(call, secret)


def _keep(call: Call, secret: str) -> int:
    sink = call.flags.text("token-sink-file")
    try:
        write_secret(sink, secret)
    except OSError as error:
        return call.fail(f'Error writing token to file sink "{sink}": {open_error(sink, error)}')
    return 0


def write_secret(path: str, secret: str) -> None:
    """A file that its owner alone may read, whole or not at all. Raises OSError."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".token-")  # 0600 from the start
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _logout(call: Call) -> int:
    if call.args:
        return call.fail(_NO_WORDS)
    try:
        post(call.client(), "/v1/acl/logout", b"")
    except ClientError as error:
        return call.fail(f"Error destroying token: {error}")
    return 0


COMMANDS: dict[tuple[str, ...], Command] = {
    ("login",): Command(
        usage="login -method NAME -bearer-token-file FILE -token-sink-file FILE [options]",
        help="Shows a bearer token of another system to an auth method, and keeps the token that\n"
        "it gives out in a file. With -type=oidc a browser logs in instead.",
        run=_login,
        server=True,
        namespace=True,
        flags=(
            Flag("method", "Name of the auth method."),
            Flag("type", "Type of the auth method: jwt, kubernetes, or oidc for a browser."),
            Flag(
                "oidc-callback-listen-addr",
                "With -type=oidc: where this command waits for the browser.",
                default="localhost:8550",
            ),
            Flag("bearer-token-file", "File with the token of the other system."),
            Flag("token-sink-file", "File to keep the new token in; its owner alone may read it."),
            Flag("meta", "Metadata for the token, name=value; repeatable.", Kind.MAP),
        ),
    ),
    ("logout",): Command(
        usage="logout [options]",
        help="Deletes the token of this request, which a login gave out.",
        run=_logout,
        server=True,
        namespace=True,
    ),
}
