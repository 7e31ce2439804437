"""Celery, and nothing of the domain: how messages reach doors.

Owns the Celery application and its pins (``app``), the asyncio pool that trials run on
(``pool``), the producer (``dispatch``), tasks of a few lines that call a door (``tasks``),
what a worker process opens and closes (``lifespan``) and the watchers that keep it from
going deaf (``watchdog``, ``sweeper``). What a trial is, who may end it and what it costs
are the core's business; replacing Celery would touch this folder only.
"""
