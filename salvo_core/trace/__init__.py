"""What the agent did: the record of one trial, its bytes, and what must not be in them.

Owns the shape of a trace (``model``), its encoding with schema version and digest
(``codec``) and the removal of secrets (``redaction``). A trace is written once and
never edited; it says nothing of whether the trial was good beyond the findings that
``evaluation`` put into it.
"""
