"""What is asked: scenario files read, checked, explained and frozen.

Owns the format of scenario files and of ``salvo.yaml``: the models, the only YAML reader
(``source``), positions of every key, what is wrong with a file and what to do about it
(``problems``), and the digest that names a scenario for good. What always holds: a
scenario that leaves this room is complete, with includes resolved and assertions in
canonical form; equal scenarios have equal digests; whatever a file contains, its author
gets located problems, all at once, and never a traceback; nothing outside the project
folder is included. It leaves to others how assertions are checked (``evaluation``), what
tools answer while a trial runs (``trial``) and how problems are coloured (the CLI).
"""
