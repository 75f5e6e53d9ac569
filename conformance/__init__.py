"""Test programs of others against the server: `make conformance`. The results are in docs/conformance.md.

Each program gets an environment of its own under `target/conformance`. One that is not to be had is left out,
with the reason. Another one is a file here, and a line in `__main__.py`.
"""
