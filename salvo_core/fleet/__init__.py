"""What all workers share in Redis beyond a run's own state.

Owns the register of workers: who is there, how much each can do, when it was last
heard of. A worker that stops beating fades by itself. Trials and leases are the
manifest's; nothing here decides what happens to a trial.
"""
