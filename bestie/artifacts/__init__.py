"""Everything that the pipeline stores: dense maps and weights in Zarr, tables in Parquet, metrics for DVC in JSON.

Only this package knows these formats. Every writer is atomic, and equal input gives equal bytes.
"""
