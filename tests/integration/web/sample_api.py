"""A small API that says what reached it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel

from bulkhead.web.body_guard import BodyRule
from bulkhead.web.server import Mount

UPLOAD_BYTES_MAX = 3_000_000
RULES = (BodyRule("/sample/upload", UPLOAD_BYTES_MAX, ("image/png", "text/csv")),)
SLOW_S = 0.3
underway = asyncio.Event()


class Item(BaseModel):
    name: str
    quantity: int = 1


router = APIRouter()


@router.get("/items/{name}")
async def read_item(name: str, query: str = "") -> dict[str, str]:
    return {"name": name, "query": query}


@router.post("/items")
async def add_item(item: Item) -> Item:
    return item


@router.post("/anything")
async def take_anything(value: Annotated[Any, Body()]) -> dict[str, Any]:
    return {"received": value}


@router.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    return {"size_bytes": len(await request.body())}


@router.delete("/items/{name}", status_code=204)
async def delete_item(name: str) -> Response:
    return Response(status_code=204)


@router.get("/slow")
async def read_slowly() -> dict[str, bool]:
    underway.set()
    await asyncio.sleep(SLOW_S)
    return {"ended": True}


@router.get("/forever")
async def wait_forever() -> None:
    underway.set()
    await asyncio.Event().wait()


@router.get("/underway")
async def wait_for_another() -> None:
    """Answer as soon as one of the two above has begun."""
    await underway.wait()
    underway.clear()


MOUNT = Mount("sample", "A sample", [router])
