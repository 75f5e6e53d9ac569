"""Calls the functions of gradio_app.py by the library gradio_client: talk_gradio.py URL."""

from __future__ import annotations

import sys

from gradio_client import Client


def main(url):
    client = Client(url, verbose=False)
    assert client.predict("Jörg", api_name="/greet") == "Hello Jörg"
    job = client.submit(4, api_name="/count")
    assert list(job) == [f"step {number}" for number in range(4)]
    jobs = [client.submit(f"{number}", api_name="/greet") for number in range(20)]
    assert [job.result(timeout=30) for job in jobs] == [f"Hello {number}" for number in range(20)]


if __name__ == "__main__":
    main(sys.argv[1])
