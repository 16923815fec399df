"""Tests of what a proxy tells about its traffic."""
