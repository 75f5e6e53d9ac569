"""Reading what other servers are given, for `prefork import-config`: command lines and configuration files.

`prefork.config.peers` knows what the settings mean.
"""
