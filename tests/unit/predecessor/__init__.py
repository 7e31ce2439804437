"""Reading what the first Salvo left."""
