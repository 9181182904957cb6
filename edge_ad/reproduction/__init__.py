"""Papers' tables, run again: the published figures, what it takes to train for them, and both side by side."""
