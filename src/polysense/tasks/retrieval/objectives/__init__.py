"""Losses beside the contrastive one."""
