"""Loaded by tests of agent/late.py: remembers which thread ran it."""

import threading

LOADED_BY = threading.current_thread().name
