"""Imputation of missing cells by a trained model."""
