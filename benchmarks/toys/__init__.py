"""Toys: generated tables whose rules are known, for tasks that no table here states."""
