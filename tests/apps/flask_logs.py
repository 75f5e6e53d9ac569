"""A Flask application that has used its logger before it is served: Flask has added a handler to it."""

from __future__ import annotations

import flask

app = flask.Flask(__name__)
app.logger.warning("made")


@app.get("/")
def fails():
    raise LookupError("the bug")
