"""Fine-tuning: what of a trained model means the same in a new recipe, and its transfer."""
