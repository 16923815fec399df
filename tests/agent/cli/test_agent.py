"""Every flag of `agent` that a cluster by hand needs, in every spelling, as a configuration key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.agent import FLAGS, read_flags
from agent.cli.flags import parse
from agent.config.load import load
from tests.agent.config.hosts import host

#: Flag, text, and the configuration key with the value it stands for.
VALUED = [
    ("bootstrap-expect", "3", "bootstrap_expect", 3),
    ("node", "n1", "node_name", "n1"),
    ("datacenter", "dc9", "datacenter", "dc9"),
    ("bind", "127.0.0.1", "bind_addr", "127.0.0.1"),
    ("client", "127.0.0.1 ::1", "client_addr", "127.0.0.1 ::1"),
    ("advertise", "10.0.0.1", "advertise_addr", "10.0.0.1"),
    ("data-dir", "/var/lib/x", "data_dir", "/var/lib/x"),
    ("retry-join", "10.0.0.2", "retry_join", ("10.0.0.2",)),
    ("join", "10.0.0.2", "start_join", ("10.0.0.2",)),
    ("encrypt", "cg8StVXbQJ0gPvMd9o7yrg==", "encrypt", "cg8StVXbQJ0gPvMd9o7yrg=="),
    ("pid-file", "/run/x", "pid_file", "/run/x"),
    ("log-level", "warn", "log_level", "warn"),
    ("http-port", "8501", "ports.http", 8501),
    ("dns-port", "-1", "ports.dns", -1),
    ("serf-lan-port", "8311", "ports.serf_lan", 8311),
    ("server-port", "8310", "ports.server", 8310),
]


def spelt(flag: str, text: str) -> list[list[str]]:
    """One or two dashes, with an equals sign or as the next word."""
    return [
        [f"-{flag}={text}"],
        [f"--{flag}={text}"],
        [f"-{flag}", text],
        [f"--{flag}", text],
    ]


@pytest.mark.parametrize(("flag", "text", "key", "value"), VALUED)
def test_a_flag_with_a_value_is_its_key(flag: str, text: str, key: str, value: object) -> None:
    for words in spelt(flag, text):
        assert read_flags(parse(FLAGS, words)).values == {key: value}, words


@pytest.mark.parametrize("flag", ["server", "bootstrap"])
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_a_switch_is_its_key(flag: str, dashes: str) -> None:
    assert read_flags(parse(FLAGS, [dashes + flag])).values == {flag: True}
    assert read_flags(parse(FLAGS, [f"{dashes}{flag}=true"])).values == {flag: True}
    assert read_flags(parse(FLAGS, [f"{dashes}{flag}=false"])).values == {flag: False}


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_switches_that_are_no_keys(dashes: str) -> None:
    assert read_flags(parse(FLAGS, [f"{dashes}dev"])).dev
    assert not read_flags(parse(FLAGS, [])).dev
    assert parse(FLAGS, [f"{dashes}version"])["version"] is True


def test_files_and_folders_keep_the_order_in_which_they_are_given() -> None:
    for first in spelt("config-file", "a.json"):
        for second in spelt("config-dir", "b.d"):
            flags = read_flags(parse(FLAGS, [*first, *second, "-config-file=c.hcl"]))
            assert flags.paths == ("a.json", "b.d", "c.hcl")


def test_the_files_of_a_folder_are_merged_by_name_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"datacenter": "one", "retry_join": ["10.0.0.1"]}')
    (tmp_path / "b.hcl").write_text('datacenter = "two"\nretry_join = ["10.0.0.2"]')
    (tmp_path / "c.txt").write_text("no configuration")
    (tmp_path / "d.json").write_text('{"node_name": "file", "log_level": "warn"}')
    words = ["-dev", f"-config-dir={tmp_path}", "-node=flag", "-retry-join", "10.0.0.3"]
    config = load(read_flags(parse(FLAGS, words)), host=host()).config
    assert (config.datacenter, config.node_name, config.log_level) == ("two", "flag", "WARN")
    assert config.retry_join == ("10.0.0.3", "10.0.0.1", "10.0.0.2")  # lists: flags first
