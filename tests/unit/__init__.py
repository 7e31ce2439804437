"""Rooms on their own: pure, fast, no servers. Mirrors the folders of the code."""
