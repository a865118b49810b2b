"""Bodies of the longer commands of `bestie`."""
