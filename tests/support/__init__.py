"""What the tests share: a server as a process, a pool, an engine in the test's own process, and clients.

`server.py`, `pool.py` and `engine.py` each belong to a fixture (`serve`, `pool`, `run_engine`).
CONTRIBUTING.md has a table of them. Nothing here sleeps for luck: `waiting.py` has the one way to wait.
"""
