"""Gradio on FastAPI: a function, one that yields, and a file."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI


def greet(name):
    return f"Hello {name}"


def count(target):
    for number in range(int(target)):
        yield f"step {number}"


with gr.Blocks() as blocks:
    name = gr.Textbox(label="Name", elem_id="name")
    greeting = gr.Textbox(label="Greeting", elem_id="greeting")
    gr.Button("Greet", elem_id="greet").click(greet, name, greeting, api_name="greet")
    target = gr.Number(label="Target", value=3)
    gr.Button("Count", elem_id="count").click(count, target, greeting, api_name="count")

application = gr.mount_gradio_app(FastAPI(), blocks, path="/")
