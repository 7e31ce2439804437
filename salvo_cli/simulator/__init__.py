"""A pretend provider over real HTTP: what ``salvo simulate`` serves.

Owns the book of scripts, the two wire formats seen from the provider's side (OpenAI's chat
completions, Anthropic's messages), the rate limit, the counters, the request log and the
server. Always holds: an answer depends on the script and on who asks, never on the order in
which requests arrive, except where a caller gives no name at all (``callers``); every request
to a model is one line of the log, written before it is answered; no request makes the server
keep more than a bounded number of things. Leaves to others: what a script is
(``salvo_core.adapters.script``), reading files, flags and the terminal (``salvo_cli.commands``).
"""
