"""Requests through the mesh: which route, which host, tried how often, and what of it is told.

Decisions are cores (``routes``, ``retries``, ``outliers``); ``gateway`` moves the bytes.
"""
