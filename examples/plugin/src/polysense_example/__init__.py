"""An encoder, a fusion, a head and a metric for polysense, from a package of their own."""
