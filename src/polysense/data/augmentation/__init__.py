"""Augmentation of batches in training; what it does to a modality stands in that modality's folder."""
