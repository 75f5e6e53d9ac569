"""What a request, a worker and an idle connection cost, beside nginx and uvicorn: `make bench`.

    machine, processes    what we run on; what the kernel knows of a process
    needs, servers, load  what must be there; starting a server; loading it
    throughput, scoreboard, pool, memory    one measurement each
    figures, report       the targets; the tables and the file

Every server is pinned to one core and whatever asks it to another. Servers that are compared are alive at
the same time and loaded in turns, so that what else the machine does meets all of them alike.
"""
