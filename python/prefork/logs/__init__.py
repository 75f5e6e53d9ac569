"""What the server writes for people: the access log, and lines on standard output."""
