"""Verdicts, ranked failures and the summary."""
