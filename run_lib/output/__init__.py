"""What the program says: on its terminal or pipe, and in the log of the work directory."""
