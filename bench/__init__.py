"""What a request, a worker and an idle connection cost, beside nginx and other servers: `make bench`.

    machine, processes, needs    the machine; CPU time and memory of a process; required programs
    servers, recipes             starting a server; the servers
    load, closed_loop, open_loop the load: by wrk or h2load, one message after the other, or on a schedule
    streams                      a client of HTTP/2 for that schedule
    rounds, windows              servers side by side: in turns of seconds, or of milliseconds
    events, hello, websocket, static, uploads, mixed, logs, tls, http2, membership, pool, memory   a part each
    instructions, callgrind      what a request costs in instructions, which a busy machine does not change
    compare                      this checkout beside another one: `python -m bench --against CHECKOUT`
    findings, report, chart      what a part returns; the tables and the file; the picture

Every server is pinned to one core and its load generator to another. Servers that are compared run at the
same time and are loaded in turns, so that other work of the machine affects all of them alike.
"""
