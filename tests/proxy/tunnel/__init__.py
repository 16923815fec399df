"""Tests of the tunnel between sidecars."""
