"""Passes sockets to a command as systemd does: `launcher.py 7,9 web:admin command ...`.

The descriptors become 3, 4 and so on, and LISTEN_PID is the process of the command (sd_listen_fds(3)).
Without names there is no LISTEN_FDNAMES.
"""

from __future__ import annotations

import fcntl
import os
import sys

numbers, names, *command = sys.argv[1:]
# Out of the way first: one of them may have the number that another one gets.
moved = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers.split(",")]
for number in numbers.split(","):
    os.close(int(number))
for index, descriptor in enumerate(moved):
    os.dup2(descriptor, 3 + index)
    os.close(descriptor)
os.environ |= {"LISTEN_FDS": str(len(moved)), "LISTEN_PID": str(os.getpid())}
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execvp(command[0], command)
