"""What tests share: the server as a process, clients, and pools."""
