"""A fault tester for lictor as its users see it: processes, HTTP, broken on purpose.

It imports none of lictor's packages. A run writes a history, and verdicts are drawn from the
history alone, so that a recorded run can be judged again.
"""
