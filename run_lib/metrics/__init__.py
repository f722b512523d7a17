"""Numbers of sets of images, from the features that an extractor makes of them."""

from run_lib.metrics.base import register_metric


def _register_metrics() -> None:
    """Those that come with the program, at the first look-up."""
    from run_lib.metrics import (  # noqa: F401
        density_coverage,
        frechet,
        inception_score,
        kernel,
        neighbours,
        precision_recall,
        sliced_wasserstein,
    )


register_metric.provided_by(_register_metrics)
