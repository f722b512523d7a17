"""Data whose score is known exactly: nothing to train, every number has a true value."""
