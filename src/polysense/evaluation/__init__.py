"""The audit of a model: what it scores, how sure that is, what each column contributed, and the page that says so.

Nothing here knows how a model works. The evaluator takes a callable and batches, the contributions take a callable that
predicts from subsets of the columns, and the report takes their results.
"""
