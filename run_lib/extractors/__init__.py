"""Maps from images to the features in which sets of images are compared."""

from run_lib.extractors.base import register_extractor


def _register_extractors() -> None:
    """Those that come with the program, at the first look-up."""
    from run_lib.extractors import builtin  # noqa: F401


register_extractor.provided_by(_register_extractors)
