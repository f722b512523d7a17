"""Work on given images: control and reconstruction."""
