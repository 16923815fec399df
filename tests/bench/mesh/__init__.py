"""``make bench-mesh``: our pair of sidecars beside a pair of Envoys, one process a side."""
