"""Experiments with whole rings of the real gossip cores, up to ten thousand members."""
