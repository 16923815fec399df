"""Many connections between two sidecars over few warm mTLS connections (mesh contract D.13).

``core`` decides about frames, windows and streams, ``lanes`` which connection carries a new stream;
``link``, ``stream`` and ``pool`` move the bytes.
"""
