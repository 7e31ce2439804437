"""The store room: names, addresses and the sorting of errors."""
