"""Comparison of recipes: the sweep of variants, the trials, and the pool that runs them."""
