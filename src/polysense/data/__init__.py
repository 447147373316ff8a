"""From a table to samples: reading, guessing what the columns are, splitting, decoding, fitting and batching.

What a cell holds is decided once, in `cells`: a missing cell is None from there on, and nothing later fills it in.
"""
