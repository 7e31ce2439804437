"""A model's opinion, asked for k times: how it is asked, read, counted, and what it costs.

Owns the judge's request (what it may see, and how what the agent said is kept from giving it
orders), the reading of its answers into votes, and what votes come to. Asking is ``panel``'s, the
only part that waits; everything else is pure.
"""
