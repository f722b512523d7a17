"""Sets of images and statistics of other programs."""
