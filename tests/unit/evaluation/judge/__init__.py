"""The judge: its question, its votes, and what they come to."""
