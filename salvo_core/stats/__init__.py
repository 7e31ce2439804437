"""Numbers only: intervals, reliability, early decisions, contrasts, plans.

Owns formulas whose answers are known beforehand, with their sources. Every function is
pure, takes plain sequences and counts, and says in its docstring what is in range; none
rounds, and none returns a number that the numbers given cannot support. What a number
means for a trial or a run is left to ``evaluation`` and ``run``.
"""
