"""From what people said of a line's verdicts to a proposed detector: ``edge-ad retrain``."""
