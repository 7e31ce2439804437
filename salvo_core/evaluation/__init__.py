"""What we think of a trace: assertions, findings, score and grade.

Owns the catalogue of assertion types, the document that queries see and the arithmetic
from findings to a grade. What always holds: a check is a pure function of the trace, so
the same trace and assertions give the same findings on every machine and on every
re-evaluation (``custom`` asks that of a team's own function, which runs in a process of
its own and for a bounded time); a check that cannot be made is a finding with an error and never loses the
others or the trace; scores lie in 0..1; details are bounded and quote what the agent said
as data. It leaves to others where assertions come from (``scenario``), what a trace may
hold (``trace``) and what many grades come to (``run``).
"""
