"""A model against a labelled data set: scores with intervals, the protocol said, and pictures.

:func:`vitrail.evaluate.run.evaluate` does the work; ``docs/evaluate.md`` says what the numbers are.
"""
