"""From a media cell (a path, bytes, an object already decoded) to an array, or a DecodeError; never half of it."""
