"""Retrieval: a joint embedding space of several columns."""
