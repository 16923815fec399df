"""Requests between agents: one multiplexed msgpack connection to a server's port."""
