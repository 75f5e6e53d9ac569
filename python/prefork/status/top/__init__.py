"""`prefork top`: a pool in the terminal, live.

`rates.py` and `screen.py` make a frame of a report, `view.py` is what the operator has chosen: all pure.
`terminal.py` has the terminal, `live.py` the loop, and `remote.py` reads reports from an admin listener.
"""
