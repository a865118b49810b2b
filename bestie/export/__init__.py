"""Export of instance tables to the formats of other tools, one file per format."""
