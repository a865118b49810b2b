"""How fast the parts are: one script a topic, described in README.md."""
