"""Generation: text, token by token."""
