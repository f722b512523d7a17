"""Scores of sets of images, whatever program made them: features kept on disk, metrics, and what each was made by."""
