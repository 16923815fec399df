"""The command line: every verb but `agent` and `connect proxy` is a client of the HTTP API."""
