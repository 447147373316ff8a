"""What was made of cells once, kept on disk by content: frozen features, and decoded cells."""
