"""Representations of rows: embeddings, features, indexes, few-shot and zero-shot classification, maps."""
