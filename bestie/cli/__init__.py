"""The `bestie` command, one file a subcommand."""
