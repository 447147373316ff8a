"""Ranking: which of a catalogue's items a user chooses next."""
