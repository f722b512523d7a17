"""Numbers of sets of images, from the features that an extractor makes of them."""

import importlib

from run_lib.metrics.base import register_metric


def _register_metrics() -> None:
    """Those that come with the program, at the first look-up."""
    for name in ("density_coverage", "frechet", "inception_score", "kernel", "neighbours", "precision_recall",
                 "sliced_wasserstein"):  # fmt: skip
        importlib.import_module(f"run_lib.metrics.{name}")


register_metric.provided_by(_register_metrics)
