"""Image generation: an image for a row, from any of its columns."""
