"""Dash: a chart that follows an input, and a table in a callback that fails on demand."""

from __future__ import annotations

import os

from dash import Dash, Input, Output, State, dcc, html

dash = Dash(__name__)
dash.layout = html.Div(
    [
        dcc.Input(id="word", value="abc"),
        html.Button("Turn", id="turn"),
        html.Div(id="turned"),
        dcc.Dropdown(["1", "2", "3"], "1", id="factor"),
        dcc.Graph(id="chart"),
        html.Button("Get", id="get"),
        dcc.Download(id="file"),
    ]
)


@dash.callback(
    Output("turned", "children"), Input("turn", "n_clicks"), State("word", "value"), prevent_initial_call=True
)
def turn(clicks, word):
    return f"{clicks}: {word[::-1]} by {os.getpid()}"


@dash.callback(Output("chart", "figure"), Input("factor", "value"))
def draw(factor):
    values = [int(factor) * number for number in range(10)]
    return {"data": [{"type": "bar", "y": values}], "layout": {"title": {"text": f"factor {factor}"}}}


@dash.callback(Output("file", "data"), Input("get", "n_clicks"), prevent_initial_call=True)
def get(clicks):
    return {"content": "inside", "filename": "file.txt"}


application = dash.server
