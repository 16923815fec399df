"""How objects of access control look, where no recording shows it."""

from __future__ import annotations

import pytest

from agent.cli import acl_forms as forms


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-01-31T10:00:00.1234567Z", "2026-01-31 10:00:00.1234567 +0000 UTC"),
        ("2026-01-31T10:00:00Z", "2026-01-31 10:00:00 +0000 UTC"),
        ("2026-01-31T10:00:00.5+02:00", "2026-01-31 10:00:00.5 +0200 +0200"),
        ("soon", "soon"),
        (None, ""),
    ],
)
def test_times_are_gos(given: str | None, shown: str) -> None:
    assert forms.go_time(given) == shown


def test_rules_and_their_variables_are_listed() -> None:
    rule = {
        "ID": "1", "AuthMethod": "m", "Description": "d", "BindType": "templated-policy",
        "BindName": "builtin/service", "BindVars": {"name": "x"}, "Selector": "",
        "CreateIndex": 5, "ModifyIndex": 6,
    }  # fmt: skip
    assert forms.binding_rules([rule], meta=True) == (
        "1:\n   AuthMethod:   m\n   Description:  d\n   BindType:     templated-policy\n"
        "   BindName:     builtin/service\n   BindVars:\n      - name: x\n   Selector:     \n"
        "   Create Index: 5\n   Modify Index: 6\n"
    )


def test_templated_policies_stand_below_one_title() -> None:
    templates = [
        {"TemplateName": "builtin/service", "TemplateVariables": {"name": "api"}},
        {"TemplateName": "builtin/dns", "Datacenters": ["dc1"]},
    ]
    shown = forms.role({"ID": "1", "Name": "r", "TemplatedPolicies": templates}, meta=False)
    assert shown == (
        "ID:           1\nName:         r\nDescription:  \nTemplated Policies:\n"
        "   builtin/service\n      Name: api\n      Datacenters: all\n"
        "   builtin/dns\n      Datacenters: dc1\n"
    )


def test_a_template_tells_what_it_wants() -> None:
    item = {"TemplateName": "builtin/service", "Template": 'service "{{.Name}}" {}', "Schema": "{}"}
    assert "-var name:api" in forms.template(item, meta=False)
    assert 'service "{{.Name}}" {}' in forms.template(item, meta=True)
    assert "None" in forms.template({"TemplateName": "builtin/dns", "Template": ""}, meta=False)
