"""Check a table without training: what its columns are, and what is wrong with it."""
