"""Our extractors, registered by their names."""

from run_lib.extractors import classifier, clip, dinov2, inception, plain

__all__ = ["classifier", "clip", "dinov2", "inception", "plain"]
