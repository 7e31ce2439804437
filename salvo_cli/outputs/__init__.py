"""The documents that ``--json`` prints, each with a name, a version and a schema.

Owns what programs may rely on. A command builds its document where it prints it; here stands what that
document holds. No command imports this room but ``salvo schema``: acceptance tests compare the two.
"""
