"""Quantiles and intervals."""
