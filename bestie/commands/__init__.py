"""The larger subcommands of `bestie`, a module each; what they need is imported when they run."""
