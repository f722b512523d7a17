"""Data sets, and images to be edited."""
