"""Writes the files that follow from others: from `prefork.config.options`, such as the native module's
settings, and from Cargo.lock, which says what is linked into that module.

They are committed, so that a build needs no Python; a test fails if one of them is stale.
"""
