"""The `dsum` command, with one module per subcommand. A command imports what it needs when it runs, so wrong arguments
are answered at once.
"""

__all__ = ["main"]
