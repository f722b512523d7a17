"""Training: the loop, its state and checkpoints, optimisers, tasks, and weights to start from."""
