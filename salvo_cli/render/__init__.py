"""What people read, as pure functions from values to text.

Owns the console, tables, the live display, the conversation view and the JSON
envelopes. What always holds: text from a model, a provider or a file is put on the
screen as plain characters with control characters made visible; nothing here asks a
server anything.
"""
