"""Lets ``python -m salvo_worker`` run a worker."""

from salvo_worker.departure import leave_process
from salvo_worker.main import main

leave_process(main())
