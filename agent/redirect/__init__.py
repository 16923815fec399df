"""How a host's connections are led to a transparent sidecar: rules, and carrying them out."""
