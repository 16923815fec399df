"""Which endpoint gets the next connection: one policy a file.

A policy has ``update(endpoints)`` and ``candidates(count)``, which gives the endpoints to try for
one connection, best first.
"""
