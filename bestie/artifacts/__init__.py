"""Everything the pipeline keeps: Zarr for what is dense, Parquet for what has rows, JSON for what DVC reads.

Only this package knows those formats. Every writer is atomic, and equal input gives equal bytes.
"""
