"""Findings of a check: what is wrong with a table before anything is trained on it, by one detector for each kind."""
