"""Watches: what to ask for, what counts as a change, what a handler is given. Pure.

`agent.cli.watch` and `agent.local.watches` carry them out.
"""
