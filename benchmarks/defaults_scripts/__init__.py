"""The simple scripts that `benchmarks/defaults.py` judges one command against, and the tables that both get."""
