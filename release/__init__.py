"""Builds what users install: a source distribution and wheels, checked and tried. `make wheels` runs it.

Everything is built from one tree that has only committed files, so a file that was forgotten fails here and
not where a user installs. It knows nothing of prefork's code.
"""
