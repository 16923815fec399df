"""The spellings of TLS between agents, which one wins, and what does not make a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config.load import AgentFlags, load
from agent.errors import ConfigError
from tests.agent.config.hosts import host, load_values

FILES = {"ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem"}


def test_without_keys_there_is_no_tls(tmp_path: Path) -> None:
    config = load_values({}, tmp_path).config.tls
    assert (config.complete, config.dials_tls, config.min_version) == (False, False, "TLSv1_2")


@pytest.mark.parametrize(
    "values",
    [
        {**FILES, "verify_incoming": True, "tls_min_version": "tls13"},
        {**FILES, "verify_incoming_rpc": True, "tls_min_version": "TLSv1_3"},
        {"tls": {"defaults": {**FILES, "verify_incoming": True, "tls_min_version": "TLSv1_3"}}},
        {"tls": {"internal_rpc": {**FILES, "verify_incoming": True, "tls_min_version": "tls13"}}},
    ],
)
def test_all_spellings_say_the_same(values: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_values({**values, "server": True}, tmp_path)
    config = loaded.config.tls
    assert (config.ca_file, config.cert_file, config.key_file) == ("ca.pem", "c.pem", "k.pem")
    assert (config.complete, config.dials_tls, config.verify_incoming) == (True, True, True)
    assert config.min_version == "TLSv1_3"
    assert not [text for text in loaded.warnings if "tls" in text or "_file" in text]


def test_the_stanza_wins_over_defaults_and_these_over_the_flat_keys(tmp_path: Path) -> None:
    config = load_values(
        {
            "ca_file": "flat",
            "verify_outgoing": True,
            "tls": {
                "defaults": {"ca_file": "default", "verify_outgoing": False},
                "internal_rpc": {"ca_file": "own", "verify_server_hostname": True},
            },
        },
        tmp_path,
    ).config.tls
    assert (config.ca_file, config.verify_outgoing) == ("own", False)
    assert config.verify_server_hostname
    assert config.key("ca_file") == "tls.internal_rpc.ca_file"


def test_hcl_says_it_too(tmp_path: Path) -> None:
    path = tmp_path / "a.hcl"
    path.write_text(
        'data_dir = "d"\n'
        'tls { defaults { ca_file = "a" } internal_rpc { require_node_id = false } }\n'
    )
    assert load(AgentFlags(paths=[str(path)]), host=host()).config.tls.ca_file == "a"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"cert_file": "a"}, "cert_file is set, but tls.internal_rpc.key_file is not"),
        ({"key_file": "a"}, "key_file is set, but tls.internal_rpc.cert_file is not"),
        (
            {"verify_outgoing": True},
            "VerifyOutgoing set but no CA certificates were provided: verify_outgoing is set",
        ),
        (
            {"tls": {"internal_rpc": {"verify_server_hostname": True}}},
            "VerifyServerHostname set but no CA certificates were provided: tls.internal",
        ),
        (
            {"server": True, "tls": {"internal_rpc": {"cert_file": "a", "key_file": "b"}}},
            "tls.internal_rpc.cert_file is set on a server, but no authority",
        ),
        (
            {"server": True, "ca_file": "a", "verify_incoming": True},
            "verify_incoming is set on a server, but it has no certificate",
        ),
        ({"tls_min_version": "tls10"}, 'tls_min_version: "tls10" is not supported'),
    ],
)
def test_parts_that_make_no_whole_are_refused(
    values: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        load_values(values, tmp_path)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"cert_file": "a", "key_file": "b"}, "cert_file"),
        ({"tls": {"defaults": {"cert_file": "a", "key_file": "b"}}}, "tls.defaults.cert_file"),
    ],
    ids=["flat", "defaults"],
)
def test_a_servers_certificate_without_an_authority_serves_https_alone(
    values: dict[str, Any], key: str, tmp_path: Path
) -> None:
    loaded = load_values({"server": True, "bootstrap": True, **values}, tmp_path)
    assert (loaded.config.tls.cert_file, loaded.config.https.cert_file) == ("", "a")
    assert not loaded.config.tls.dials_tls
    assert any(line.startswith(f"{key} serves HTTPS alone") for line in loaded.warnings)
    with pytest.raises(ConfigError, match="no CA certificates were provided"):
        load_values({"server": True, "verify_incoming": True, **values}, tmp_path)


# -- the HTTP API --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {**FILES, "verify_incoming": True},
        {**FILES, "verify_incoming_https": True},
        {"tls": {"defaults": {**FILES, "verify_incoming": True}}},
        {"tls": {"https": {**FILES, "verify_incoming": True}}},
    ],
    ids=["flat", "flat of https", "defaults", "stanza"],
)
def test_the_http_api_has_the_same_spellings(values: dict[str, Any], tmp_path: Path) -> None:
    config = load_values({**values, "ports": {"https": 8501}}, tmp_path).config
    assert (config.port_https, config.https.cert_file) == (8501, "c.pem")
    assert config.https.verify_incoming
    assert config.https.key("ca_path") == "tls.https.ca_path"


def test_each_face_may_have_its_own_demands(tmp_path: Path) -> None:
    tls = {"defaults": {**FILES, "verify_incoming": True}, "https": {"verify_incoming": False}}
    loaded = load_values({"tls": tls}, tmp_path)
    assert (loaded.config.tls.verify_incoming, loaded.config.https.verify_incoming) == (True, False)
    assert loaded.warnings == ()


def test_suites_are_chosen_by_consuls_names(tmp_path: Path) -> None:
    suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    config = load_values({"tls_cipher_suites": suites}, tmp_path).config
    assert config.tls.ciphers == config.https.ciphers == "ECDHE-RSA-AES128-GCM-SHA256"
    with pytest.raises(ConfigError, match=r"tls.https.tls_cipher_suites: unsupported cipher suite"):
        load_values({"tls": {"https": {"tls_cipher_suites": "NULL"}}}, tmp_path)


@pytest.mark.parametrize(
    ("https", "text"),
    [
        ({"cert_file": "c"}, "tls.https.cert_file is set, but tls.https.key_file is not"),
        (
            {"verify_incoming": True},
            "VerifyIncoming set but no CA certificates were provided: tls.https.verify",
        ),
        ({"tls_min_version": "TLSv1_1"}, 'tls.https.tls_min_version: "TLSv1_1" is not supported'),
    ],
    ids=["half a pair", "no authority", "old version"],
)
def test_what_is_no_whole_for_the_http_api(
    https: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=text):
        load_values({"tls": {"https": https}}, tmp_path)


# -- certificates from the servers ---------------------------------------------------------------


def test_a_client_agent_that_is_given_a_certificate_dials_with_tls(tmp_path: Path) -> None:
    loaded = load_values({"ca_file": "ca.pem", "auto_encrypt": {"tls": True}}, tmp_path)
    assert loaded.config.auto_encrypt_tls and loaded.config.tls.dials_tls
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"auto_encrypt": {"tls": True}}, "auto_encrypt.tls is set, but no authority to verify"),
        ({"auto_encrypt": {"allow_tls": True}}, "auto_encrypt.allow_tls can only be used on a s"),
        (
            {"server": True, "auto_encrypt": {"allow_tls": True}},
            "auto_encrypt.allow_tls is set, but this server has no certificate",
        ),
        (
            {"server": True, **FILES, "auto_encrypt": {"tls": True}},
            "auto_encrypt.tls can only be used on a client.",
        ),
    ],
    ids=["no authority", "client gives", "no certificate", "server takes"],
)
def test_who_gives_and_who_takes(values: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        load_values(values, tmp_path)
