"""Lets ``python -m salvo_worker`` run a worker."""

import sys

from salvo_worker.main import main

sys.exit(main())
