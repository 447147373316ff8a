"""The statistics of an audit: parts that say what may be trusted of a model, and how sure that is."""
