"""lictor: one agent per host. This package composes gossip, raftstore and proxy."""

#: The program's own version (PEP 440).
VERSION = "0.1.0"
#: Consul's version whose behaviour we follow; clients and peers read it in `Config.Version`, tags.
CONSUL_VERSION = "1.10.11"
