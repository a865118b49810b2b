"""One module per DVC stage: read artifacts, call `bestie`, write artifacts. `python -m stages.<name>` runs one."""
