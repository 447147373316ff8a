"""Chess positions as a modality."""
