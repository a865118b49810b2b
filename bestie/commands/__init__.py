"""The bodies of the `bestie` command's larger subcommands; what they import is imported when they run."""
