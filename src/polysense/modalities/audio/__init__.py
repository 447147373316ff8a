"""Audio: speech, music, environmental sound."""
