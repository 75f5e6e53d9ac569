"""What a request, a worker and an idle connection cost, beside nginx and other servers: `make bench`.

    machine, processes, needs    what we run on; what the kernel knows of a process; what must be there
    servers, recipes             starting a server; which servers there are
    load, closed_loop, open_loop how they are asked: by wrk, as fast as they answer, or by the clock
    rounds, windows              servers side by side: in turns of seconds, or of milliseconds
    events, hello, websocket, static, mixed, membership, pool, memory    one part of the bench each
    instructions, callgrind      what a request costs in instructions: the part that has no noise
    compare                      this checkout beside another one: `python -m bench --against CHECKOUT`
    findings, report, chart      what a part returns; the tables and the file; the picture

Every server is pinned to one core and whatever asks it to another. Servers that are compared are alive at
the same time and loaded in turns, so that what else the machine does meets all of them alike.
"""
