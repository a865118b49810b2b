"""The tables of the paper, rerun: rows as parameters, runs that share what DVC has cached, one page of numbers.

`tables.yaml` is the list of rows, with the paper's numbers beside them.
"""
