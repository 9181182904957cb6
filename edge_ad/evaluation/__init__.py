"""How good a detector is: metrics, thresholds, evaluation of a detector or an engine, and the report."""
