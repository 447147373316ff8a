"""Losses on generated texts beside the cross entropy of the true ones."""
