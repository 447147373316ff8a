"""What happens now and then in a run: progress, logs, checkpoints, early stopping."""
