"""What labels came from: their versions in git history, DVC experiments and the workspace.

Nothing here writes to the workspace: files of an earlier version are read from DVC's cache, or otherwise from a remote.
"""
