"""The audit of a trained model: what each column is worth, what breaks it, and how far it may be trusted."""
