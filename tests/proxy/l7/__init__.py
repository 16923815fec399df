"""Tests of requests through the mesh."""
