"""The `dsum` command: one module per subcommand."""
