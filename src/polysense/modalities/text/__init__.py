"""Text: words, sentences, documents."""
