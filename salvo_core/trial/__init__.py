"""One repetition: the conversation, the tools it may call, the limits it must keep.

Owns the turn loop and everything a trial may touch while it runs. It asks an adapter
for turns, answers tool calls from the scenario's mocks and hands every completed turn to
a journal before the next begins (I3). What holds: a trial ends in exactly one outcome,
whatever the provider does, and an agent's mistake is answered to the agent, never
raised. Who holds the trial, where its record goes and whether it was good are others'.
"""
