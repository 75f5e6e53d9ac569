"""A reload when a file of the application has changed (`--reload`, `prefork dev`).

`files.py` says which files count, `watcher.py` is the process that looks at them, and `reloader.py` is what
the manager has of it.
"""
