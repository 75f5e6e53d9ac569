"""Static files in front of an application."""
