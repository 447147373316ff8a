"""Estimators: linear models and tree ensembles that are fitted, not trained, and kept as tensors."""
