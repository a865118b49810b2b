"""Benchmarks of the parts: one script per topic, described in README.md."""
