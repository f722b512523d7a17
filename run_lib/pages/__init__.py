"""Pages of a run and of several: one HTML file each, which needs nothing but a browser."""
