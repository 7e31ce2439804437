"""Bytes under names, written once.

Owns the protocol that every store keeps, the only paths (``keys``), and three
implementations: files, S3 and memory. What the bytes mean is not its business
(``trace.codec``), nor is whether somebody may write them (``manifest``).
"""
