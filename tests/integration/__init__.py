"""The whole system at work: real worker processes, Redis, MinIO and a provider over HTTP.

``fleet`` starts and ends them and asks the questions every test asks; ``scripts`` holds what
is asked of the pretend provider. Nothing here is mocked, and nothing waits by sleeping: each
wait is for a condition, with a deadline.
"""
