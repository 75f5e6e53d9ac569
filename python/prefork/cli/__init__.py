"""The command `prefork`."""
