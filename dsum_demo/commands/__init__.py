"""Commands of `dsum` that are long enough for a module of their own; cli.py reads the arguments and calls them."""
