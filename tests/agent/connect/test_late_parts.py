"""What a sidecar has not loaded until the agent tells of it, and that it is the same then."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from agent import full_match as at_once
from agent.connect import late_parts
from agent.login import jose
from proxy.errors import UnreadablePattern
from proxy.jwt import TokenError
from tests.proxy.tokens import Issuer

#: Each takes 0.4 MB or more, and a sidecar that is told of nothing special does without.
UNWANTED = """
    cryptography aiohttp gossip agent.full_match agent.login agent.explain agent.backend
    agent.connect.sidecars statistics decimal fractions prometheus_client dns lmdb pysyncobj msgpack
    proxy.api_source proxy.linked multiprocessing
""".split()
#: `lictor connect proxy` up to where it would run.
START = """
import sys
import proxy.worker
from agent.cli import main
proxy.worker.main_proxy = lambda options: print(options.jose, *sys.modules) or 0
sys.argv = "lictor connect proxy -proxy-id web-sidecar-proxy".split()
sys.exit(main.main())
"""


def test_a_sidecar_has_not_loaded_what_it_can_do_without() -> None:
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert "proxy.feed_source" in found
    too_much = sorted(found & set(UNWANTED))
    assert not too_much, "load it where it is wanted (docs/adr/0097-a-small-sidecar.md)"


def test_patterns_are_matched_as_without_delay() -> None:
    for pattern, text in (("a+b", "aab"), ("a+b", "xaab"), ("", "")):
        assert late_parts.full_match(pattern, text) == at_once.full_match(pattern, text)
    with pytest.raises(UnreadablePattern):
        late_parts.full_match("(", "")


def test_tokens_are_verified_as_without_delay() -> None:
    issuer, late = Issuer("k1"), late_parts.Jose()
    keys = late.keys(issuer.jwks)
    assert keys == jose.Jose().keys(issuer.jwks)
    token = issuer.token()
    assert late.claims(token, keys) == jose.Jose().claims(token, keys)
    with pytest.raises(TokenError):
        late.claims(token, late.keys(Issuer("k2").jwks))


def test_what_marks_name_is_there() -> None:
    for name in late_parts.MARKS.values():
        importlib.import_module(name)
