"""An encoder, a fusion and a head for polysense, from a package of their own."""
