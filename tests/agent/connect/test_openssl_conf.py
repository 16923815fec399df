"""The suites that sidecars prefer, as OpenSSL itself reads them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connect.openssl_conf import SUITES, VARIABLE, variables, with_suites

#: The suites in order, and whether "encrypt then MAC" is off (bit 19 of OpenSSL's options).
FIRST_OF = (
    "import ssl; c = ssl.create_default_context();"
    "print(*[x['name'] for x in c.get_ciphers()][:3], c.options >> 19 & 1)"
)
#: Of Debian's kind, of Ubuntu's, none at all.
HOSTS = {
    "providers": "openssl_conf = a\n# openssl_conf = no\nconfig_diagnostics = 1\n"
    "[ a ]\nproviders = p\n[p]\ndefault = d\n[d]\nactivate = 1\n",
    "options": "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c # of all\n"
    "[c]\nOptions = -EncryptThenMac\n",
    "none": "",
}


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_openssl_prefers_them_and_keeps_what_the_host_says(host: str, tmp_path: Path) -> None:
    of_host, made = tmp_path / "host.cnf", tmp_path / "made.cnf"
    of_host.write_text(HOSTS[host])
    text = with_suites(HOSTS[host], str(of_host) if HOSTS[host] else "")
    assert text is not None
    made.write_text(text)
    told = subprocess.run(
        [sys.executable, "-S", "-c", FIRST_OF],
        env=os.environ | {VARIABLE: str(made)}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert told[:3] == SUITES.split(":")
    assert (told[3] == "1") == (host == "options")


@pytest.mark.parametrize(
    "host",
    ["openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nCiphersuites = X\n",
     ".include /etc/crypto-policies/back-ends/opensslcnf.config\n", "  .include=fipsmodule.cnf\n"],
)  # fmt: skip
def test_a_host_with_an_opinion_is_left_alone(host: str) -> None:
    assert with_suites(host, "/host.cnf") is None


@settings(max_examples=40)
@given(st.text(alphabet="openssl_conf[] =\n#.\tabc\x00é"))
def test_any_text_has_an_answer(host: str) -> None:
    text = with_suites(host, "/host.cnf")
    assert text is None or text.endswith(f"Ciphersuites = {SUITES}\n")


def test_only_the_owner_reads_the_file_and_a_file_that_is_named_already_stays(
    tmp_path: Path,
) -> None:
    assert variables(None, {}) == {}
    assert variables(tmp_path, {VARIABLE: ""}) == {}
    assert variables(tmp_path / "missing", {}) == {}
    for _ in range(2):  # also where an older one is
        more = variables(tmp_path, {})
        if not more:
            pytest.skip("the host decides about suites")
        assert list(more) == [VARIABLE]
        assert stat.S_IMODE(os.stat(more[VARIABLE]).st_mode) == 0o600
