"""Which labels came from what: versions of the pseudo labels in git history, DVC experiments and the workspace.

Nothing here writes to the workspace: what an earlier version holds is read from DVC's cache, or else from a remote.
"""
