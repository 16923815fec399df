"""HTTP/2 as a proxy speaks it: many requests on one connection, each judged by itself (RFC 9113).

``screen`` counts what a peer may not do too often, ``fields`` reads headers in one way or not at
all, ``core`` keeps a connection's streams; all three are pure. ``session``, ``server`` and
``clients`` move the bytes.
"""
