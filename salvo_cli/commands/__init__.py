"""One file per command: its options, its help, and which doors it calls.

A command parses, calls, renders and returns its exit code; it decides nothing about
runs. Importing one is cheap, because ``salvo --help`` imports them all: whatever needs
Redis, a store or pydantic is imported inside the function that uses it.
"""
