"""Several datacenters: the pool of their servers, and what is asked of another one through it."""
