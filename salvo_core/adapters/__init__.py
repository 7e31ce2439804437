"""A model behind one async method.

Owns the wire formats of providers, the HTTP clients, the sorting of failures into
kinds, retries of a turn and the price of tokens. Knows nothing of scenarios, trials
or Redis: it is given messages and gives back a turn, or a ``ProviderError``.
"""
