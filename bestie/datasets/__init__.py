"""Readers of data sets, one file per format, and the generated data set in `shapes`."""
