"""The kinds of objects of access control, and what the commands about each do alike.

One table says how a kind is called, where it is asked for and how it is printed; finding, listing
and deleting are written once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import UsageError, doing, id_of, id_of_name, part, show
from agent.cli.client import Client, ClientError, expect
from agent.cli.command import Call

Json = dict[str, Any]
Query = list[tuple[str, str]]


def _as_it_is(found: Json) -> Json:
    return found


def _policy(found: Json) -> Json:
    """As Go's client prints it: a list that is not there is null."""
    return {"Datacenters": None} | found


def _token(found: Json) -> Json:
    """As Go's client prints it: whether a token is of the old kind is always said."""
    return {"Legacy": False, **found}


@dataclass(frozen=True, slots=True, kw_only=True)
class AclKind:
    """``word`` is what messages call it, ``path`` where one is, ``all_path`` where all are, and
    ``ids`` the kind as ``id_of`` knows it ("" for one that has its name only). ``named_by`` are
    the flags of which one says which object is meant, ``whole`` completes what is listed."""

    word: str
    path: str
    all_path: str
    form: forms.Form
    ids: str = ""
    named_by: tuple[str, ...] = ("id",)
    whole: Callable[[Json], Json] = _as_it_is

    @property
    def missing(self) -> str:
        """What is said where none of the flags was given."""
        shown = " or ".join(f"-{name}" for name in self.named_by)
        return f"Must specify the {shown} parameter{'s' if len(self.named_by) > 1 else ''}"

    def given(self, call: Call) -> bool:
        """Whether a flag says which object is meant."""
        return any(call.flags.text(name) for name in (*self.named_by, *self._old_names))

    @property
    def _old_names(self) -> tuple[str, ...]:
        return ("accessor-id",) if self.ids == "token" else ()

    def wanted(self, call: Call, client: Client) -> str:
        """The id, or the name of what has none, that the flags mean. Raises UsageError."""
        name = call.flags.text("name") if "name" in self.named_by else ""
        if not self.ids:
            return name
        given = next(
            (text for each in (*self._old_names, "id") if (text := call.flags.text(each))), ""
        )
        with doing(f"Error determining {self.word} ID"):
            return id_of(client, self.ids, given) if given else id_of_name(client, self.ids, name)

    def delete(self, call: Call) -> int:
        """Delete one."""
        if not self.given(call):
            return call.fail(self.missing)
        client = call.client()
        try:
            wanted = self.wanted(call, client)
        except UsageError as error:
            return call.fail(str(error))
        try:
            expect(client.delete(f"{self.path}{part(wanted)}"))
        except ClientError as error:
            return call.fail(f'Error deleting {self.word} "{wanted}": {error}')
        call.say(f'{self.word.capitalize()} "{wanted}" deleted successfully')
        return 0

    def list_all(self, call: Call, query: Query | None = None) -> int:
        """List all, or those that fit a query."""
        try:
            found = call.client().read(self.all_path, query or [])
        except ClientError as error:
            return call.fail(f"Failed to retrieve the {self.word} list: {error}")
        return show(call, [self.whole(each) for each in found], self.form)


POLICY = AclKind(
    word="policy",
    path="/v1/acl/policy/",
    all_path="/v1/acl/policies",
    form=forms.policies,
    ids="policy",
    named_by=("id", "name"),
    whole=_policy,
)
ROLE = AclKind(
    word="role",
    path="/v1/acl/role/",
    all_path="/v1/acl/roles",
    form=forms.roles,
    ids="role",
    named_by=("id", "name"),
)
TOKEN = AclKind(
    word="token",
    path="/v1/acl/token/",
    all_path="/v1/acl/tokens",
    form=forms.tokens,
    ids="token",
    whole=_token,
)
METHOD = AclKind(
    word="auth method",
    path="/v1/acl/auth-method/",
    all_path="/v1/acl/auth-methods",
    form=forms.methods,
    named_by=("name",),
)
RULE = AclKind(
    word="binding rule",
    path="/v1/acl/binding-rule/",
    all_path="/v1/acl/binding-rules",
    form=forms.binding_rules,
    ids="rule",
)
