"""Real servers for tests: MinIO, Valkey and Redis, found or installed, started and stopped.

``python -m tests.servers install`` finds or makes every binary (in a cache outside the
repository), ``where`` shows what there is. Tests only start what is installed: a test run
never downloads or builds. Every server listens on loopback or a unix socket alone, lives in
a temporary folder of its own, and ends with the process that started it.
"""
