"""What each column is for: an input of some kind, a row's number, a split's mark, a person, or a leak."""
