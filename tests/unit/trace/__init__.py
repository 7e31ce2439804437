"""The record of a trial."""
