"""The command line: what a person types, and what they read.

Owns the commands, their options and exit codes, every rendering on a terminal, and the
embedded mode (a private Valkey and a worker of our own). What always holds: results go
to stdout and everything else to stderr, ``--json`` prints exactly one document, a
person's mistake never shows a traceback, and text that a model wrote is shown as it
is, never as markup. What a run *is* it leaves to ``salvo_core``, and how a queue is
spoken to, to ``salvo_worker``: ``wiring`` is the one place that joins the two.
"""
