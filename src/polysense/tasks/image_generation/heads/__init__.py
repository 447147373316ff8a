"""Networks that generate images from what was fused."""
