"""Both implementations against the same pretend provider: the predecessor's processes and ours.

The predecessor is installed from its package into an environment of its own, in the cache that
the tests' servers live in; where that cannot be done the tests say so and are skipped. Whatever
the two disagree on must stand in ``deliberate.py``, with its reason, or a test fails.

``python -m tests.differential compare --seed 7 --count 300`` looks for more.
"""
