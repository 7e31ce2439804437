"""Faults on purpose: real processes, a seeded schedule, and promises checked from the outside.

``world`` is the fleet and what may befall it, ``faults`` what befalls it, ``campaign`` the schedule and
its table, ``promises`` what must hold afterwards whatever happened.
"""
