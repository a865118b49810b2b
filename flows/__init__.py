"""Prefect flows over DVC's own graph: order, placement, retries, progress."""
