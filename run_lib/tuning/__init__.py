"""Tuning of samplers."""
