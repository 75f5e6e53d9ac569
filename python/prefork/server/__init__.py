"""HTTPServer: which handler serves a request, listening, shutting down."""
