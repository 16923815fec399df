"""`acl`: the first token, the agent's own tokens, old rules, templated policies."""

from __future__ import annotations

import json
from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    FORMAT,
    META,
    UsageError,
    data,
    id_of,
    post,
    read_or_none,
    show,
)
from agent.cli.client import ClientError, expect
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

#: What the command calls a token of the agent -> what the API does.
_KINDS = {
    "default": "default",
    "agent": "agent",
    "replication": "replication",
    "master": "agent_master",
    "recovery": "agent_recovery",
    "config_file_service_registration": "config_file_service_registration",
    "dns": "dns",
}


def _bootstrap(call: Call) -> int:
    if len(call.args) > 1:
        return call.fail(f"Error! Too many arguments (expected 0 or 1, got {len(call.args)})")
    body = b""
    try:
        if call.args:
            source = call.args[0]
            secret = data(call, source if source == "-" else f"@{source}").strip()
            body = json.dumps({"BootstrapSecret": secret}).encode()
        found = expect(call.client().put("/v1/acl/bootstrap", (), body)).json()
    except UsageError as error:
        return call.fail(f"Error reading provided token: {error}")
    except ClientError as error:
        return call.fail(f"Failed ACL bootstrapping: {error}")
    return show(call, found, forms.token)


def _set_agent_token(call: Call) -> int:
    if len(call.args) == 0:
        return call.fail("Error! Missing TYPE and TOKEN arguments")
    if len(call.args) == 1:
        return call.fail("Error! Missing TOKEN argument")
    if len(call.args) > 2:
        return call.fail(f"Error! Too many arguments: expected 2 got {len(call.args)}")
    kind, secret = call.args
    if kind not in _KINDS:
        return call.fail("Unknown token type")
    body = json.dumps({"Token": secret}).encode()
    try:
        expect(call.client().put(f"/v1/agent/token/{_KINDS[kind]}", (), body))
    except ClientError as error:
        return call.fail(f'Failed to set ACL token "{kind}": {error}')
    call.say(f'ACL token "{kind}" set successfully')
    return 0


def _translate(call: Call) -> int:
    if not call.args:
        return call.fail("Error! Missing TRANSLATE argument")
    if len(call.args) > 1:
        return call.fail(f"Error! Too many arguments (expected 1, got {len(call.args)})")
    client = call.client()
    try:
        if call.flags["token-accessor"] or call.flags["token-secret"]:
            found = id_of(client, "token", call.args[0])
            return call.fail(f"{found}: tokens of the old kind do not exist here")
        rules = data(call, call.args[0])
        answer = post(client, "/v1/acl/rules/translate", rules.encode())
    except UsageError as error:
        return call.fail(f"Error! {error}")
    except ClientError as error:
        text = str(error)
        translating = not text.startswith("No such token")
        return call.fail(f"Error translating rules: {text}" if translating else text)
    call.say(answer.body.decode("utf-8", "replace"))
    return 0


def _list_templates(call: Call) -> int:
    try:
        found = call.client().read("/v1/acl/templated-policies")
    except ClientError as error:
        return call.fail(f"Failed to retrieve the templated policies: {error}")
    return show(call, found, lambda items, meta: "\n".join(sorted(items)))


def _read_template(call: Call) -> int:
    name = call.flags.text("name")
    if not name:
        return call.fail("Must specify the -name parameter")
    try:
        found = read_or_none(call.client(), f"/v1/acl/templated-policy/name/{name}")
    except ClientError as error:
        return call.fail(f'Error reading templated policy "{name}": {error}')
    if found is None:
        return call.fail(f'Templated policy not found with name "{name}"')
    return show(call, found, forms.template)


def _preview_template(call: Call) -> int:
    name = call.flags.text("name")
    if not name:
        return call.fail("Cannot preview a templated policy without specifying -name")
    body: dict[str, Any] = {}
    for text in call.flags["var"]:
        key, colon, value = text.partition(":")
        if not colon:
            return call.fail(f'Malformed -var argument: "{text}"')
        body[key[:1].upper() + key[1:]] = value
    try:
        raw = json.dumps(body).encode()
        found = post(call.client(), f"/v1/acl/templated-policy/preview/{name}", raw).json()
    except ClientError as error:
        return call.fail(f"Failed to generate the templated policy preview: {error}")
    return show(call, found, forms.policy)


_TEMPLATE_NAME = Flag("name", "Name of the templated policy.")

COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "bootstrap"): Command(
        usage="acl bootstrap [options] [FILE]",
        help="Makes the first management token, once. FILE, or - for standard input, has the\n"
        "secret to give it; one is made up by default.",
        run=_bootstrap,
        server=True,
        flags=(FORMAT,),
    ),
    ("acl", "set-agent-token"): Command(
        usage="acl set-agent-token [options] TYPE TOKEN",
        help="Gives the agent a token to use. TYPE is default (for requests without a token),\n"
        "agent (for what the agent does by itself), recovery (to operate it without servers),\n"
        "replication, config_file_service_registration or dns. It is kept over a restart with\n"
        "acl.enable_token_persistence only.",
        run=_set_agent_token,
        server=True,
    ),
    ("acl", "translate-rules"): Command(
        usage="acl translate-rules [options] TRANSLATE",
        help="Turns rules of the old syntax into new ones. TRANSLATE is the text, @file, or - for\n"
        "standard input.",
        run=_translate,
        server=True,
        flags=(
            Flag("token-accessor", "TRANSLATE is the accessor id of a token.", Kind.BOOL),
            Flag("token-secret", "TRANSLATE is the secret of a token.", Kind.BOOL),
        ),
    ),
    ("acl", "templated-policy", "list"): Command(
        usage="acl templated-policy list [options]",
        help="Lists the templated policies.",
        run=_list_templates,
        server=True,
        flags=(FORMAT,),
    ),
    ("acl", "templated-policy", "read"): Command(
        usage="acl templated-policy read -name NAME [options]",
        help="Shows a templated policy; -meta shows its text as well.",
        run=_read_template,
        server=True,
        flags=(_TEMPLATE_NAME, FORMAT, META),
    ),
    ("acl", "templated-policy", "preview"): Command(
        usage="acl templated-policy preview -name NAME [-var name:VALUE] [options]",
        help="Shows the policy that a templated policy becomes.",
        run=_preview_template,
        server=True,
        flags=(
            _TEMPLATE_NAME,
            Flag("var", "Variable, name:VALUE; repeatable.", Kind.LIST),
            FORMAT,
            META,
        ),
    ),
}
