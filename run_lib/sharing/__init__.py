"""How several processes share a work: each does some of its batches."""
