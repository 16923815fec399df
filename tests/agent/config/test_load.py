"""Sources, their order, and the texts of everything that is wrong with them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from agent.config.definition_keys import Kind
from agent.config.gossip_keys import NUMBERS
from agent.config.load import FILE_BYTES_MAX, AgentFlags, load, parse, read_paths
from agent.config.schema import CoordinateConfig, GossipTiming
from agent.errors import ConfigError
from agent.keeping import store_config
from agent.local.node import catalog_node
from agent.membership import gossip_config
from gossip import GossipConfig
from tests.agent.config.hosts import host, load_values


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(flags: AgentFlags) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, host=host())
    return str(caught.value)


def test_nothing_but_a_data_folder_is_needed(tmp_path: Path) -> None:
    loaded = load(AgentFlags(values={"data_dir": str(tmp_path)}), host=host())
    assert loaded.warnings == ()
    config = loaded.config
    assert (config.node_name, config.datacenter) == ("test-host", "dc1")
    assert (config.bind_addr, config.advertise_addr) == ("0.0.0.0", "10.0.0.5")
    assert config.client_addrs == ("127.0.0.1",)
    assert not config.server
    assert config.leave_on_terminate
    assert not config.skip_leave_on_interrupt


def test_a_server_does_not_leave_when_it_is_stopped(tmp_path: Path) -> None:
    config = load_values({"server": True}, tmp_path).config
    assert (config.leave_on_terminate, config.skip_leave_on_interrupt) == (False, True)


def test_development_mode_is_a_whole_cluster_in_memory() -> None:
    config = load(AgentFlags(dev=True), host=host()).config
    assert config.dev_mode
    assert config.server
    assert config.bootstrap
    assert config.data_dir == ""
    assert (config.bind_addr, config.advertise_addr) == ("127.0.0.1", "127.0.0.1")
    assert (config.log_level, config.raft_multiplier) == ("DEBUG", 1)
    timing = config.gossip_lan
    assert (timing.gossip_interval_s, timing.probe_interval_s) == (0.1, 0.1)
    assert config.connect_enabled


def test_files_change_what_development_mode_sets() -> None:
    Path("a.json").write_text('{"log_level": "warn", "server": false}')
    config = load(AgentFlags(dev=True, paths=["a.json"]), host=host()).config
    assert (config.log_level, config.server, config.bootstrap) == ("WARN", False, False)


def test_later_files_then_flags_then_fragments_win() -> None:
    Path("a.json").write_text('{"datacenter": "a", "node_name": "a", "domain": "a", "encrypt": ""}')
    Path("b.hcl").write_text('node_name = "b"\ndomain = "b"')
    loaded = load(
        AgentFlags(
            paths=["a.json", "b.hcl"],
            values={"domain": "c", "data_dir": "d", "retry_interval": "1s"},
            fragments=['retry_interval = "2s"'],
        ),
        host=host(),
    ).config
    assert (loaded.datacenter, loaded.node_name, loaded.dns.domain) == ("a", "b", "c.")
    assert loaded.retry_interval_s == 2.0


@pytest.mark.parametrize(("given", "seconds"), [("500ms", 0.5), ("1m", 60.0), ("0s", 10.0)])
def test_the_shortest_session_ttl_is_a_setting_and_nothing_is_the_default(
    given: str, seconds: float
) -> None:
    flags = AgentFlags(values={"data_dir": "d", "session_ttl_min": given})
    assert load(flags, host=host()).config.session_ttl_min_s == seconds


def test_lists_are_appended_and_those_of_flags_come_first() -> None:
    Path("a.json").write_text('{"retry_join": ["a1"], "data_dir": "d"}')
    Path("b.json").write_text('{"retry_join": ["b1", "b2"]}')
    flags = AgentFlags(paths=["a.json", "b.json"], values={"retry_join": ("f1",)})
    assert load(flags, host=host()).config.retry_join == ("f1", "a1", "b1", "b2")


def test_a_folder_gives_its_files_by_name_and_nothing_below_it() -> None:
    folder = Path("conf")
    (folder / "sub.json").mkdir(parents=True)
    (folder / "b.json").write_text('{"datacenter": "b"}')
    (folder / "a.hcl").write_text('datacenter = "a"\ndata_dir = "d"')
    (folder / "note.txt").write_text("?")
    loaded = load(AgentFlags(paths=["conf"]), host=host())
    assert loaded.config.datacenter == "b"
    assert loaded.warnings == (
        "skipping file conf/note.txt, extension must be .hcl or .json, "
        "or config format must be set",
    )


def test_a_format_makes_all_files_count() -> None:
    Path("plain.conf").write_text('data_dir = "d"')
    assert load(AgentFlags(paths=["plain.conf"], format="hcl"), host=host()).config.data_dir == "d"
    text = refused(AgentFlags(paths=["plain.conf"], format="yaml"))
    assert text == "config: -config-format must be either 'hcl' or 'json'"


def test_an_empty_file_says_nothing_and_a_repeated_key_counts_last() -> None:
    Path("e.json").write_text("")
    Path("r.json").write_text('{"datacenter": "x", "datacenter": "y"}')
    sources, _ = read_paths(["e.json", "r.json"], "")
    assert [said for _, said in sources] == [{}, {"datacenter": "y"}]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.json", '{"a":', "failed to parse a.json: "),
        ("a.json", "{} x", "failed to parse a.json: "),
        ("a.json", "[]", "failed to parse a.json: expected an object, got []interface {}"),
        ("a.json", '{"a": NaN}', "failed to parse a.json: NaN is no JSON"),
        ("a.json", "[" * 100_000, "failed to parse a.json: nested too deeply"),
        ("a.hcl", 'a = "x', "failed to parse a.hcl: At 1:"),
        ("a.hcl", "a = b", "failed to parse a.hcl: expressions are not supported: b"),
    ],
)
def test_text_that_cannot_be_parsed_names_its_file(name: str, content: str, text: str) -> None:
    Path(name).write_text(content)
    assert refused(AgentFlags(paths=[name])).startswith(text)


def test_files_that_cannot_be_read_are_told() -> None:
    assert refused(AgentFlags(paths=["none"])) == (
        "config: Open failed on none. open none: no such file or directory"
    )
    Path("bytes.json").write_bytes(b'{"a": "\xff"}')
    assert refused(AgentFlags(paths=["bytes.json"])).startswith(
        "failed to parse bytes.json: not UTF-8 text"
    )
    os.truncate("bytes.json", FILE_BYTES_MAX + 1)
    assert "is larger than" in refused(AgentFlags(paths=["bytes.json"]))


def test_a_fragment_is_named_by_its_place() -> None:
    flags = AgentFlags(fragments=['data_dir = "d"', "nope = 1"])
    assert refused(flags) == (
        "failed to parse flags-1.hcl: 1 error occurred:\n\t* invalid config key nope\n\n"
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"data_dir": ""}, "data_dir cannot be empty"),
        ({"data_dir": "f.json"}, 'data_dir "f.json" is not a directory'),
        ({"datacenter": ""}, "datacenter cannot be empty"),
        (
            {"datacenter": "UP_per!"},
            "datacenter can only contain lowercase alphanumeric, - or _ characters. "
            'received: "up_per!"',
        ),
        ({"bootstrap": True}, "'bootstrap = true' requires 'server = true'"),
        ({"bootstrap_expect": 3}, "'bootstrap_expect > 0' requires 'server = true'"),
        (
            {"bootstrap": True, "bootstrap_expect": 3, "server": True},
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ),
        (
            {"bootstrap_expect": -1},
            "1 error occurred:\n\t* bootstrap_expect cannot be -1. "
            "Must be greater than or equal to zero\n\n",
        ),
        ({"encrypt": "abc"}, "encrypt has invalid key: illegal base64 data: Incorrect padding"),
        ({"encrypt": "YWJj"}, "encrypt has invalid key: key size must be 16, 24 or 32 bytes"),
        (
            {"retry_interval": "abc"},
            '1 error occurred:\n\t* retry_interval: invalid duration: "abc": '
            'time: invalid duration "abc"\n\n',
        ),
        (
            {"ports": {"http": 70000, "dns": -2}},
            "2 errors occurred:\n\t* ports.http: invalid port: 70000\n"
            "\t* ports.dns: invalid port: -2\n\n",
        ),
        ({"ports": {"http": 8600}}, "HTTP address 127.0.0.1:8600 already configured for DNS"),
        (
            {"performance": {"raft_multiplier": 11}},
            "performance.raft_multiplier cannot be 11. Must be between 1 and 10",
        ),
        (
            {"dns_config": {"udp_answer_limit": -1}},
            "1 error occurred:\n\t* udp_answer_limit cannot be -1. "
            "Must be greater than or equal to zero\n\n",
        ),
        (
            {"gossip_lan": {"probe_interval": "0s"}},
            "1 error occurred:\n\t* gossip_lan.probe_interval cannot be 0s. "
            "Must be greater than zero\n\n",
        ),
        ({"addresses": {"dns": "unix:///x"}}, "DNS address cannot be a unix socket"),
        ({"segment": "a"}, "Network segments are not supported in this version of Consul"),
        ({"partition": "p"}, "partition is not supported"),
        ({"connect": {"ca_provider": "foo"}}, "foo is not a valid CA provider"),
        (
            {"connect": {"ca_provider": "vault"}},
            "connect.ca_provider: the vault CA provider is not supported",
        ),
        (
            {"proxy": {"tunnel": "on"}},
            'proxy.tunnel must be "auto", "off" or "require", not "on"',
        ),
        ({"proxy": {"workers": 0}}, "proxy.workers must be 1 to 64, not 0"),
        ({"proxy": {"workers": 65}}, "proxy.workers must be 1 to 64, not 65"),
        ({"proxy": {"own_streams_max": 1025}}, "proxy.own_streams_max must be 0 to 1024, not 1025"),
        ({"proxy": {"own_stream_bytes": 0}}, "proxy.own_stream_bytes must be positive"),
        (
            {"proxy": {"native": "yes"}},
            'proxy.native must be "auto", "off" or "require", not "yes"',
        ),
        (
            {"proxy": {"limits": {"http": {"nothing": 1}}}},
            'proxy.limits: there is no bound "http.nothing"',
        ),
        (
            {"connect": {"builtin_proxy": "on"}},
            'connect.builtin_proxy must be "auto" or "off", not "on"',
        ),
        (
            {"auto_encrypt": {"allow_tls": True}},
            "auto_encrypt.allow_tls can only be used on a server.",
        ),
        (
            {"advertise_reconnect_timeout": "1h", "server": True},
            "advertise_reconnect_timeout can only be used on a client",
        ),
        (
            {"session_ttl_min": "25h"},
            "session_ttl_min cannot be 25h. Must be at most 24h0m0s",
        ),
        (
            {"session_ttl_min": "-1s"},
            "1 error occurred:\n\t* session_ttl_min cannot be -1s. "
            "Must be greater than or equal to zero\n\n",
        ),
        (
            {"raft_protocol": 2},
            "raft_protocol version 2 is not supported by this version of Consul",
        ),
        ({"protocol": 9}, "Protocol version '9' is out of range. Must be in range: [2, 3]"),
        ({"node_id": "x"}, 'node_id is not a UUID: "x"'),
        (
            {"node_meta": {"consul-x": "1"}},
            "node_meta invalid: Couldn't load metadata pair ('consul-x', '1'): "
            "Key prefix 'consul-' is reserved for internal use",
        ),
        ({"recursors": ["8.8.8.8.8"]}, "Invalid recursor address: 8.8.8.8.8"),
        (
            {"dns_config": {"recursor_strategy": "fastest"}},
            'dns_config.recursor_strategy cannot be "fastest". Must be "sequential" or "random"',
        ),
        (
            {"dns_config": {"workers": 65}},
            "dns_config.workers cannot be 65. Must be at most 64",
        ),
        (
            {"dns_config": {"workers": 2, "response_rate_limit": 5}},
            "dns_config.workers and dns_config.response_rate_limit exclude each other",
        ),
        (
            {"dns_config": {"recursion_allowed_cidrs": ["10.0.0.0/40"]}},
            "dns_config.recursion_allowed_cidrs: invalid CIDR: 10.0.0.0/40",
        ),
        (
            {"serf_wan_allowed_cidrs": ["10.0.0.0/8", "10.0.0"]},
            "serf_wan_allowed_cidrs: invalid CIDR: 10.0.0",
        ),
        (
            {"retry_join": ["provider=aws x=y"]},
            "retry_join: joining through a cloud provider is not supported: provider=aws x=y",
        ),
        (
            {"ports": {"sidecar_min_port": 2, "sidecar_max_port": 1}},
            "port range ports.sidecar_min_port to ports.sidecar_max_port is empty: 2 > 1",
        ),
        (
            {"service": {"name": "w", "weights": {"passing": 0}}},
            "1 error occurred:\n\t* Invalid weight definition for service w: "
            "Passing must be greater than 0\n\n",
        ),
        (
            {"service": {"name": "w", "check": {"ttl": "x"}}},
            '1 error occurred:\n\t* services[0].check.ttl: invalid duration: "x": '
            'time: invalid duration "x"\n\n',
        ),
    ],
)
def test_values_that_cannot_be_are_told(
    values: dict[str, object], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_values(values, tmp_path)
    assert str(caught.value) == text


def test_expecting_servers_is_not_allowed_in_development_mode() -> None:
    text = refused(AgentFlags(dev=True, values={"bootstrap_expect": 3}))
    assert text == "'bootstrap_expect > 0' not allowed in dev mode"


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        (
            {"server": True, "bootstrap_expect": 1},
            (
                "BootstrapExpect is set to 1; this is the same as Bootstrap mode.",
                "bootstrap = true: do not enable unless necessary",
            ),
        ),
        (
            {"server": True, "bootstrap_expect": 3},
            ("bootstrap_expect > 0: expecting 3 servers",),
        ),
        (
            {"ui": True},
            ("The 'ui' field is deprecated. Use the 'ui_config.enabled' field instead.",),
        ),
        (
            {"node_name": "a b"},
            (
                'Node name "a b" will not be discoverable via DNS due to invalid characters. '
                "Valid characters include all alpha-numerics and dashes.",
            ),
        ),
        (
            {"acl": {"enable_token_replication": True, "default_policy": "allow"}},
            (
                "acl.enable_token_replication has no effect: this datacenter is the primary one, "
                "whose tokens others would take over",
            ),
        ),
        (
            {"audit": {"enabled": True}},
            ('"audit" is a Consul Enterprise configuration and will have no effect',),
        ),
        (
            {"ports": {"https": 8501}},
            (
                "ports.https = 8501: nothing listens there without a certificate to serve with: "
                "set tls.https.cert_file and tls.https.key_file",
            ),
        ),
        (
            {
                "disable_update_check": True,
                "version": "1.22.0",
                "telemetry": {"disable_compat_1.9": True},
            },
            (),
        ),
    ],
)
def test_warnings_say_what_has_no_effect_or_is_unwise(
    values: dict[str, object], warnings: tuple[str, ...], tmp_path: Path
) -> None:
    assert load_values(values, tmp_path).warnings == warnings


def test_expecting_one_server_is_bootstrapping(tmp_path: Path) -> None:
    config = load_values({"server": True, "bootstrap_expect": 1}, tmp_path).config
    assert (config.bootstrap, config.bootstrap_expect) == (True, 0)


def test_a_service_of_a_file_may_have_several_ports() -> None:
    Path("a.hcl").write_text(
        'data_dir = "d"\nservice {\n name = "redis"\n ports = [{ name = "http", port = 8080 },\n'
        '{ name = "metrics", port = 9090, default = true }]\n}'
    )
    service = load(AgentFlags(paths=["a.hcl"]), host=host()).config.services[0]
    assert (service.port, [(p.name, p.port, p.default) for p in service.ports]) == (
        9090, [("http", 8080, False), ("metrics", 9090, True)],
    )  # fmt: skip


def test_single_and_listed_services_of_all_files_end_in_one_list() -> None:
    Path("a.hcl").write_text(
        'data_dir = "d"\nservice {\n name = "a"\n}\nservices {\n name = "b"\n}\n'
        'services {\n name = "c"\n}\ncheck {\n name = "k"\n ttl = "5s"\n}'
    )
    Path("b.json").write_text(json.dumps({"service": {"name": "d"}}))
    config = load(AgentFlags(paths=["a.hcl", "b.json"]), host=host()).config
    assert [service.name for service in config.services] == ["b", "c", "a", "d"]
    assert [(check.name, check.ttl_s) for check in config.checks] == [("k", 5.0)]


def test_text_only_of_blanks_is_an_empty_file() -> None:
    assert parse(" \n", "json", "x") == {}
    assert parse("\n", "hcl", "x") == {}


def test_the_autopilot_stanza_is_what_the_first_leader_writes() -> None:
    Path("a.hcl").write_text(
        'data_dir = "d"\nautopilot {\ncleanup_dead_servers = false\nmin_quorum = 3\n'
        'last_contact_threshold = "1s"\nmax_trailing_logs = 9\nserver_stabilization_time = "2m"\n}'
    )
    loaded = load(AgentFlags(paths=["a.hcl"]), host=host())
    pilot = loaded.config.autopilot
    assert loaded.warnings == ()
    assert (pilot.cleanup_dead_servers, pilot.last_contact_threshold_s) == (False, 1.0)
    assert (pilot.max_trailing_logs, pilot.min_quorum) == (9, 3)
    assert pilot.server_stabilization_time_s == 120.0


def test_the_autopilot_takes_no_negative_numbers() -> None:
    Path("a.json").write_text('{"data_dir": "d", "autopilot": {"min_quorum": -1}}')
    assert "autopilot.min_quorum cannot be -1" in refused(AgentFlags(paths=["a.json"]))


def test_when_snapshots_are_taken_reaches_the_store_under_its_names(tmp_path: Path) -> None:
    values = {
        "raft_snapshot_threshold": 16384,
        "raft_snapshot_interval": "30s",
        "raft_trailing_logs": 10240,
    }
    store = store_config(load_values(values, tmp_path).config)
    assert (store.snapshot_entries, store.snapshot_interval_s) == (16384, 30.0)
    assert store.trailing_entries == 10240


@pytest.mark.parametrize("given", [None, True, False])
def test_whether_a_full_leader_gives_way_reaches_the_store(
    given: bool | None, tmp_path: Path
) -> None:
    values = {} if given is None else {"performance": {"raft_yield_when_full": given}}
    assert store_config(load_values(values, tmp_path).config).yield_when_full is (
        given is not False
    )


@pytest.mark.parametrize(
    "values", [{"raft_snapshot_threshold": 0}, {"raft_snapshot_interval": "0s"}]
)
def test_snapshots_at_every_moment_are_refused(values: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Must be greater than zero"):
        load_values(values, tmp_path)


def test_every_number_of_gossip_has_a_key_and_arrives(tmp_path: Path) -> None:
    stanza: dict[str, object] = {"profile": "wan", "probe_timeout": "2s"}
    wanted: dict[str, object] = {}
    for name, kind, field in NUMBERS:
        default = getattr(GossipConfig(name="x"), field)
        match kind:
            case Kind.BOOL:
                stanza[name] = wanted[field] = not default
            case Kind.INT if name == "encryption_version":
                stanza[name] = wanted[field] = 0
            case Kind.INT:
                stanza[name] = wanted[field] = default + 1
            case Kind.FLOAT:
                stanza[name] = wanted[field] = default + 0.1
            case Kind.DURATION:
                stanza[name], wanted[field] = f"{default + 1}s", default + 1
            case _:
                stanza[name] = wanted[field] = "text"
    gossip = gossip_config(load_values({"gossip_lan": stanza}, tmp_path).config)
    assert {field: getattr(gossip, field) for field in wanted} == wanted
    wan = GossipConfig.wan("x")
    assert (gossip.probe_interval_s, gossip.probe_timeout_s) == (wan.probe_interval_s, 2.0)
    assert gossip.suspicion_mult == wan.suspicion_mult
    timing = {each.name for each in dataclasses.fields(GossipTiming)}
    numbers = {
        each.name
        for each in dataclasses.fields(GossipConfig)
        if isinstance(each.default, int | float) and not isinstance(each.default, bool)
    }
    # Consul's own keys: ports.*, reconnect_timeout.
    elsewhere = {"bind_port", "advertise_port", "reconnect_timeout_s"}
    assert numbers <= timing | {field for _, _, field in NUMBERS} | elsewhere


def test_without_keys_gossip_has_consuls_figures(tmp_path: Path) -> None:
    gossip = gossip_config(load_values({}, tmp_path).config)
    usual = GossipConfig.lan("x")
    for _, _, field in NUMBERS:
        assert getattr(gossip, field) == getattr(usual, field)


@pytest.mark.parametrize(
    ("stanza", "text"),
    [
        ({"profile": "moon"}, 'gossip_lan.profile cannot be "moon". Must be lan, wan or local'),
        ({"probe_timeout": "3s"}, "gossip_lan: probe_timeout_s must not exceed probe_interval_s"),
        ({"udp_buffer_size": 9}, "gossip_lan: packet_budget_bytes must be 256..4096"),
        (
            {"user_event_size_limit": 9217},
            "gossip_lan: user_event_bytes_max must not exceed user_event_received_bytes_max",
        ),
        ({"label": "x" * 300}, "gossip_lan: label must have at most 255 bytes"),
    ],
)
def test_what_makes_no_ring_is_refused(
    stanza: dict[str, object], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        load_values({"gossip_lan": stanza}, tmp_path)


def test_a_bound_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="members_max cannot be 0"):
        load_values({"gossip_lan": {"members_max": 0}}, tmp_path)
    load_values({"gossip_lan": {"push_pull_interval": "0s"}}, tmp_path)


def test_coordinates_have_consuls_keys(tmp_path: Path) -> None:
    given = {
        "sync_coordinate_interval_min": "3s",
        "sync_coordinate_rate_target": 2.5,
        "consul": {"coordinate": {"update_period": "1s", "update_batch_size": 7}},
    }
    found = load_values(given, tmp_path).config
    assert found.coordinates == CoordinateConfig(
        sync_interval_min_s=3.0,
        sync_rate_target=2.5,
        update_period_s=1.0,
        update_batch_size=7,
    )
    off = load_values({"disable_coordinates": True}, tmp_path).config
    assert not gossip_config(off).coordinates
    with pytest.raises(ConfigError, match="update_batch_size cannot be 0"):
        load_values({"consul": {"coordinate": {"update_batch_size": 0}}}, tmp_path)


def test_watches_of_all_files_add_up(tmp_path: Path) -> None:
    Path("a.hcl").write_text(
        'data_dir = "d"\n'
        'watches { type = "key" key = "x" args = ["true"] }\n'
        'watches { type = "nodes" handler_type = "http"\n'
        '  http_handler_config { path = "http://127.0.0.1/x" header { x-a = ["1"] } } }'
    )
    Path("b.json").write_text('{"watches": [{"type": "event", "handler": "true"}]}')
    loaded = load(AgentFlags(paths=["a.hcl", "b.json"]), host=host())
    assert [watch.plan.kind for watch in loaded.config.watches] == ["key", "nodes", "event"]
    assert loaded.warnings == (
        "The 'handler' field in watches has been deprecated and replaced with the 'args' field.",
    )


def test_a_watch_that_makes_none_is_told() -> None:
    Path("a.json").write_text('{"data_dir": "d", "watches": [{"type": "key", "args": ["true"]}]}')
    text = refused(AgentFlags(paths=["a.json"]))
    assert text.startswith("Failed to parse watch (args: ['true'], type: 'key'): Must specify")
    flags = AgentFlags(paths=["a.json"], fragments=["limits { watches_max = 0 }"])
    assert refused(flags) == "watches: 1 are more than limits.watches_max = 0"


def test_rules_for_metrics_are_those_of_consul_and_others_are_told() -> None:
    flags = AgentFlags(
        values={"data_dir": "d"},
        fragments=[
            'telemetry { prefix_filter = ["+lictor.http", "-lictor", "x", ""] '
            'statsd_address = "127.0.0.1:8125" metrics_prefix = "consul" }'
        ],
    )
    loaded = load(flags, host=host())
    telemetry = loaded.config.telemetry
    assert (telemetry.allowed, telemetry.blocked) == (("lictor_http",), ("lictor",))
    assert telemetry.tells("lictor_http_requests")
    assert not telemetry.tells("lictor_dns_requests")
    assert loaded.warnings == (
        "Filter rule must begin with either '+' or '-': \"x\"",
        "Cannot have empty filter rule in prefix_filter",
    )


def test_a_receiver_of_metrics_needs_a_port() -> None:
    flags = AgentFlags(values={"data_dir": "d", "telemetry.dogstatsd_addr": "127.0.0.1"})
    text = refused(flags)
    assert text == 'telemetry.dogstatsd_addr: "127.0.0.1" is not an address with a port'


def test_addresses_for_others_and_for_gossip() -> None:
    values = {
        "data_dir": "d",
        "bind_addr": "10.0.0.5",
        "advertise_addr_wan": "8.8.4.4",
        "serf_lan": '{{ GetInterfaceIP "eth0" }}',
        "primary_datacenter": "DC1",
    }
    loaded = load(AgentFlags(values=values), host=host())
    config = loaded.config
    assert (config.advertise_addr, config.advertise_addr_wan) == ("10.0.0.5", "8.8.4.4")
    assert config.serf_lan_addr == "10.0.0.5"
    assert loaded.warnings == ()
    tagged = catalog_node(config, "id").tagged_addresses
    assert tagged == {
        "lan": "10.0.0.5",
        "lan_ipv4": "10.0.0.5",
        "wan": "8.8.4.4",
        "wan_ipv4": "8.8.4.4",
    }
    text = refused(AgentFlags(values=values | {"advertise_addr_wan": "0.0.0.0"}))
    assert text == "Advertise WAN address cannot be 0.0.0.0, :: or [::]"
    text = refused(AgentFlags(values=values | {"serf_lan": "unix:///x"}))
    assert text == "serf_lan cannot be a unix socket"
    (warning,) = load(
        AgentFlags(values=values | {"primary_datacenter": "dc2"}), host=host()
    ).warnings
    assert warning.startswith('primary_datacenter = "dc2" has no effect')


def test_settings_of_reads_and_paths() -> None:
    values = {
        "data_dir": "d",
        "discovery_max_stale": "5s",
        "disable_http_unprintable_char_filter": True,
    }
    loaded = load(AgentFlags(values=values), host=host())
    assert (loaded.config.discovery_max_stale_s, loaded.config.http_any_char) == (5.0, True)
    assert loaded.warnings == ()
