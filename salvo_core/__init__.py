"""What Salvo knows: scenarios, trials, traces, the manifest, verdicts.

The folders (rooms) are the domain's nouns; the files beside them are either
ground that every room stands on (errors, identity, clock, settings, events) or
doors: one verb each (submit, attempt, seal, ...), readable as prose. Imports
point one way, in the order that ``tests/test_house.py`` lists. Nothing in here
knows Celery, typer or rich.
"""
