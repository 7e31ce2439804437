"""How people are told: what an alert says, the channels that carry it, and what was delivered.

When to tell is decided elsewhere; here an alert is a fact with an id, and telling it twice is
recognised by that id, on our side as long as we can know it, by whoever receives it after that.
"""
