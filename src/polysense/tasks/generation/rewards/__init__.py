"""Rewards of generated texts: what reinforcement learning raises."""
