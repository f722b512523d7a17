"""Data sets, and images to work on."""
