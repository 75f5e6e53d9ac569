"""A Flask application that trusts one proxy."""

from __future__ import annotations

from flask import Flask, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]


@app.get("/whoami")
def whoami():
    return f"{request.remote_addr} {url_for('whoami', _external=True)}"


@app.post("/unbuffered/count")
def count():
    return str(sum(map(len, iter(lambda: request.stream.read(65536), b""))))
