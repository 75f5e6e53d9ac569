"""The access log, and lines on standard output."""
