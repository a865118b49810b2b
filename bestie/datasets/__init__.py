"""Readers of data sets, and the generated one."""
