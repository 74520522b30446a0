"""`python -m dsum_demo` for tests without a cold start, which imports torch for seconds.

A server (`server.py`) has imported what commands need, and forks for each command. The command has its own process,
session, environment, streams and exit code. `command.py` is the process that a test starts: it asks the server,
forwards signals, and ends as the command does.
"""
