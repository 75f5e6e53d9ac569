"""NiceGUI on FastAPI: a page whose elements live on the server."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from nicegui import ui

application = FastAPI()


@ui.page("/")
def page():
    count = {"value": 0}
    label = ui.label("count 0").classes("count")

    def add():
        count["value"] += 1
        label.set_text(f"count {count['value']}")

    async def work():
        for number in range(5):
            await asyncio.sleep(0.02)
            label.set_text(f"worked {number}")

    ui.button("Add", on_click=add).classes("add")
    ui.button("Work", on_click=work).classes("work")


ui.run_with(application, storage_secret="a secret of the checks")
