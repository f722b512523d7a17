"""Work on data before training: packing them, and measuring them."""
