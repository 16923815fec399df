"""The HTTP face: Consul's `/v1` API (http-api contract). Parses, asks once, renders."""
