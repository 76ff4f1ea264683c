"""The gateway's questions answered as a FastAPI application would: SQLAlchemy's ORM and models.

The token is verified by a dependency, the role and its claims are set when the session's
transaction begins, rows become objects, objects become models, models become JSON.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from gateway_shop import POOL_SIZE
from pydantic import BaseModel, ConfigDict
from sqlalchemy import FetchedValue, ForeignKey, Numeric, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

SCOPE = text(
    "select set_config('role', 'authenticated', true),"
    " set_config('request.jwt.claims', :claims, true)"
)
SPENT = text("select state, orders, total from spent_since(cast(:since as timestamptz))")


class Base(DeclarativeBase):
    """Where the tables are known."""


class Item(Base):
    """A line of an order."""

    __tablename__ = "order_items"
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    line_number: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str]
    title: Mapped[str]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    quantity: Mapped[int]


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    order_number: Mapped[str]
    user_id: Mapped[UUID]
    state: Mapped[str]
    currency: Mapped[str]
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    shipping_address: Mapped[dict[str, Any]] = mapped_column(JSONB, deferred=True)
    created_at: Mapped[datetime]
    order_items: Mapped[list[Item]] = relationship(lazy="raise")


class Note(Base):
    """A note on an order."""

    __tablename__ = "order_notes"
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    order_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(server_default=FetchedValue())
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


class ItemOut(BaseModel):
    """A line as it is sent."""

    model_config = ConfigDict(from_attributes=True)
    line_number: int
    sku: str
    title: str
    unit_price: float
    quantity: int


class OrderOut(BaseModel):
    """An order as it is sent."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    order_number: str
    state: str
    total: float
    created_at: datetime


class OrderWithItems(OrderOut):
    """An order with its lines."""

    order_items: list[ItemOut]


class NoteIn(BaseModel):
    """A note as it comes."""

    order_id: UUID
    body: str


class NoteOut(NoteIn):
    """A note as it is sent."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    user_id: UUID
    created_at: datetime


class SpentIn(BaseModel):
    """What the function is called with."""

    since: datetime


class SpentOut(BaseModel):
    """A row of what the function returns."""

    state: str
    orders: int
    total: float


bearer = HTTPBearer()


def create_app(url: str, secret: str) -> FastAPI:
    """The application over the database at `url`, for tokens signed with `secret`."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=POOL_SIZE, max_overflow=0
    )
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def open_session(
        credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
    ) -> AsyncIterator[AsyncSession]:
        try:
            claims = jwt.decode(
                credentials.credentials, secret, ["HS256"], audience="authenticated"
            )
        except jwt.InvalidTokenError as error:
            raise HTTPException(401) from error
        async with sessions() as session, session.begin():
            await session.execute(SCOPE, {"claims": json.dumps(claims)})
            yield session

    session = Depends(open_session, scope="function")
    app = FastAPI()
    _add_reads(app, session)
    _add_writes(app, session)
    return app


def _add_reads(app: FastAPI, opened: Any) -> None:  # noqa: ANN401
    @app.get("/own")
    async def own(id: UUID, session: AsyncSession = opened) -> list[OrderOut]:  # noqa: A002
        return [OrderOut.model_validate(order) for order in await session.scalars(_page(id))]

    @app.get("/own-with-items")
    async def own_with_items(
        id: UUID,  # noqa: A002
        session: AsyncSession = opened,
    ) -> list[OrderWithItems]:
        found = await session.scalars(_page(id).options(selectinload(Order.order_items)))
        return [OrderWithItems.model_validate(order) for order in found]

    @app.get("/one")
    async def one(id: UUID, session: AsyncSession = opened) -> list[OrderOut]:  # noqa: A002
        found = await session.scalars(select(Order).where(Order.id == id))
        return [OrderOut.model_validate(order) for order in found]

    @app.get("/one-with-items")
    async def one_with_items(
        id: UUID,  # noqa: A002
        session: AsyncSession = opened,
    ) -> list[OrderWithItems]:
        query = select(Order).where(Order.id == id).options(selectinload(Order.order_items))
        return [OrderWithItems.model_validate(order) for order in await session.scalars(query)]

    @app.get("/counted")
    async def counted(
        id: UUID,  # noqa: A002
        response: Response,
        session: AsyncSession = opened,
    ) -> list[OrderOut]:
        found = (await session.scalars(_page(id))).all()
        query = select(func.count()).select_from(Order).where(Order.user_id == id)
        total = await session.scalar(query) or 0
        response.status_code = 206 if len(found) < total else 200
        response.headers["content-range"] = f"0-{len(found) - 1}/{total}"
        return [OrderOut.model_validate(order) for order in found]


def _add_writes(app: FastAPI, opened: Any) -> None:  # noqa: ANN401
    @app.post("/notes", status_code=201)
    async def insert(note: NoteIn, session: AsyncSession = opened) -> list[NoteOut]:
        row = Note(order_id=note.order_id, body=note.body)
        session.add(row)
        await session.flush()
        return [NoteOut.model_validate(row)]

    @app.post("/spent")
    async def spent(call: SpentIn, session: AsyncSession = opened) -> Sequence[SpentOut]:
        rows = await session.execute(SPENT, {"since": call.since})
        return [SpentOut(state=row[0], orders=row[1], total=row[2]) for row in rows]


def _page(user: UUID) -> Any:  # noqa: ANN401
    query = select(Order).where(Order.user_id == user)
    return query.order_by(Order.created_at.desc()).limit(20)
