"""Tests of reading the configuration."""
