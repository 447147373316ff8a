"""Training: one loop over steps, everything periodic a callback, state so small that resuming is exact.

The loop needs no data pipeline and no network of ours: `protocols` says what it asks of a model and of a loader.
"""
