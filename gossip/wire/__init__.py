"""Bytes on the wire: memberlist and Serf messages, and the envelopes around them. Pure cores."""
