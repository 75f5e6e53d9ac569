"""Notes in SQLite: Starlette, SQLAlchemy's asyncio, aiosqlite. DATABASE names the file.

The engine is made in the lifespan, so each worker has connections of its own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from sqlalchemy import String, event, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

PATH = os.environ["DATABASE"]


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(100), unique=True)
    worker: Mapped[int]


with contextlib.closing(sqlite3.connect(PATH)) as database:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text VARCHAR(100) UNIQUE, worker INTEGER)"
    )


@contextlib.asynccontextmanager
async def lifespan(app):
    engine = create_async_engine(f"sqlite+aiosqlite:///{PATH}", connect_args={"timeout": 30})

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection, record):
        connection.cursor().execute("PRAGMA synchronous = NORMAL")

    yield {"sessions": async_sessionmaker(engine, expire_on_commit=False)}
    await engine.dispose()
    with open(f"{PATH}.ended", "a") as file:
        file.write(f"{os.getpid()}\n")


async def add(request):
    text = (await request.json())["text"]
    async with request.state.sessions() as session, session.begin():
        note = Note(text=text, worker=os.getpid())
        session.add(note)
        await session.flush()
        if text.startswith("bad"):
            raise ValueError("it is taken back")
    return JSONResponse({"id": note.id}, status_code=201)


async def count(request):
    async with request.state.sessions() as session:
        found = await session.scalar(select(func.count()).select_from(Note))
        workers = await session.scalars(select(Note.worker).distinct())
        return JSONResponse({"count": found, "workers": list(workers)})


async def texts(request):
    async def parts():
        async with request.state.sessions() as session:
            async for note in await session.stream_scalars(select(Note).order_by(Note.id)):
                yield f"{note.id} {note.text}\n"

    return StreamingResponse(parts(), media_type="text/plain")


async def taken_back(request, error):
    return JSONResponse({"error": str(error)}, status_code=409)


application = Starlette(
    routes=[
        Route("/notes", add, methods=["POST"]),
        Route("/notes", texts),
        Route("/", count),
    ],
    lifespan=lifespan,
    exception_handlers={ValueError: taken_back},
)
