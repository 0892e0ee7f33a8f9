"""FastAPI with a database, SQLAlchemy over aiosqlite."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine("sqlite+aiosqlite:///:memory:")
sessions = async_sessionmaker(engine)


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


app = FastAPI(lifespan=lifespan)


@app.get("/{number}")
async def double(
    number: int, database: Annotated[AsyncSession, Depends(session)]
) -> dict[str, int]:
    answer = await database.execute(text("select 2 * :number"), {"number": number})
    return {"double": answer.scalar_one()}
