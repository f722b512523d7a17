"""``--mode show``: a page on this machine's loopback interface, on which samples follow what is asked for."""
