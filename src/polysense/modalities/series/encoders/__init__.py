"""One file per encoder."""
