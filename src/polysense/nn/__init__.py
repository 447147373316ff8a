"""Encoders, fusions, heads, and the model that joins them. Built from a Schema alone; knows no data, no training."""
