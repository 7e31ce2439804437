"""Assertions, the document they query, and grades."""
