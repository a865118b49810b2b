"""The tables of the paper, rerun: rows as parameters, runs that share DVC's cache, and one page of numbers.

`tables.yaml` lists the rows, with the paper's numbers beside them.
"""
