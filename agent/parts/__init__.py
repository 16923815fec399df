"""The parts of a running agent, put together by subject; agent/runtime.py says in which order."""
