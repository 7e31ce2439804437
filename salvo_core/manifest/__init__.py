"""The state of a run in Redis: one hash row per trial, and who may change it.

Owns every Redis key of a run (``keys``), the Lua scripts that make each transition
atomic (``lua/``), rows and counters, leases and the turn journal. What always holds: a
row moves only along the arrows that ``rows`` draws, at most one attempt holds a trial,
and only the attempt that holds it can end it (I1). The manifest is the truth of a live
run; messages are hints, and the store keeps what is settled. It leaves to others what a
trial is (``trial``), what the numbers come to (``run``) and who calls when (the doors).
"""
