"""Multilabel classification: any number of labels."""
