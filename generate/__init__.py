"""Writes the files that follow from `prefork.config.options`, such as the native module's settings.

They are committed, so that a build needs no Python; a test fails if one of them is stale.
"""
