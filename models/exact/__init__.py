"""Models whose score is known in closed form."""
