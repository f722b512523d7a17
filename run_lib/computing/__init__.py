"""Where and how numbers are computed: devices, precision, memory."""
