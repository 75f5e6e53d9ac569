"""Talks to a server of Socket.IO by its own client: talk_socketio.py URL TRANSPORT[,TRANSPORT]."""

from __future__ import annotations

import queue
import sys

import socketio

WAIT_S = 20


def main(url, transports):
    clients = [socketio.Client(reconnection=False) for _ in range(6)]
    heard = [queue.Queue() for _ in clients]
    for client, line in zip(clients, heard, strict=True):
        client.on("said", line.put)
        client.connect(url, transports=transports, wait_timeout=WAIT_S)
        found = client.call("join", "green" if client in clients[:3] else "red", timeout=WAIT_S)
        assert found.startswith("joined"), found
    wanted = transports[-1]
    for client in clients:
        assert client.transport() == wanted, f"{client.transport()} instead of {wanted}"
    clients[0].emit("say", ("green", "to the green ones ü"))
    for line in heard[:3]:
        assert line.get(timeout=WAIT_S) == "to the green ones ü"
    assert clients[5].call("turn", bytes(range(256)) * 400, timeout=WAIT_S) == (bytes(range(256)) * 400)[::-1]
    for number in range(50):
        # One at a time: a server takes 16 packets in a request at most.
        assert clients[number % 3].call("say", ("red", number), timeout=WAIT_S) == "said"
    for line in heard[3:]:
        assert sorted(line.get(timeout=WAIT_S) for _ in range(50)) == list(range(50))
    assert all(line.empty() for line in heard[:3])
    before = clients[0].call("count", timeout=WAIT_S)
    for client in clients[1:]:
        client.disconnect()
    for _ in range(200):
        if clients[0].call("count", timeout=WAIT_S) == before + 5:
            break
        clients[0].sleep(0.05)
    else:
        raise AssertionError("the server has not seen the clients leave")
    clients[0].disconnect()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","))
