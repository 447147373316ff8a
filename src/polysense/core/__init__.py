"""The contract: what passes between the table, the encoders, the fusion, the heads and the audit.

Nothing here knows how a value is decoded, encoded or trained on. Everything else depends on these types, so a change
here is a change of architecture.
"""
