"""The parameters of `params.yaml`, one file a section: every key with its default, its help and its source.

`params.yaml` holds what changes results. What does not (device, workers, progress) comes from the environment and is
read by `bestie.runtime.settings`. A stage gets its own section and `dataset`, nothing else.
"""
