"""What was ordered and what it comes to: plan, verdict, summary, ranked failures.

Owns the arithmetic between a submission and its report. Everything here is computed from
a plan and manifest rows, in index order, whatever order the trials ended in; sealing
twice gives the same bytes.
"""
