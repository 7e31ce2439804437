"""What users of the first Salvo have on disk: its runs, traces and recordings, read and put into our words.

Owns the shapes of its documents, the one way into its folder (bounded, never through a link that leads
out, never changing anything), and what each of its facts is here. Pure but for reading; the door
``carry_over`` writes. Damage is expected: what cannot be read is named, and the rest is carried.
"""
