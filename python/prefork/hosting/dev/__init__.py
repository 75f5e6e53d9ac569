"""What `prefork dev` has that no server of the public has: errors shown to the client, and a line for each
request on the terminal.
"""
