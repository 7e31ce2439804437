"""The pretend provider without a socket; ``tests/integration/test_simulator.py`` has the rest."""
