"""A small application of two databases and a bank outside, to try sagas on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.messaging.saga import (
    Absent,
    DatabaseStep,
    Done,
    ExternalStep,
    Json,
    Refused,
    Reply,
    Saga,
    StepItem,
)
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.topology import Database, Table, Topology

HERE = Path(__file__).parent / "transfer"


class Broke(Conflict):
    """The account does not hold {amount}."""

    code = "broke"


class Declined(Conflict):
    """The bank declined."""

    code = "declined"
    status = 402


@dataclass
class Bank:
    """The world outside: it remembers, whatever becomes of the application."""

    charged: dict[str, int] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    calls: int = 0
    declines: bool = False
    loses_replies: int = 0

    async def charge(self, key: str, item: StepItem) -> Reply:
        self.calls += 1
        if self.declines or key in self.closed:
            return Refused(Declined())
        self.charged[key] = item.input["amount"]
        if self.loses_replies:
            self.loses_replies -= 1
            raise TimeoutError
        return Done({"key": key})

    async def find(self, key: str, _: StepItem) -> Reply:
        if self.loses_replies:
            self.loses_replies -= 1
            raise TimeoutError
        if key in self.charged:
            return Done({"key": key})
        self.closed.add(key)
        return Absent()

    async def refund(self, key: str, _: StepItem) -> Reply:
        self.closed.add(key)
        if key in self.charged:
            self.refunded.add(key)
        return Done(None)

    @property
    def kept(self) -> int:
        return sum(amount for key, amount in self.charged.items() if key not in self.refunded)


async def open_entry(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    rows = [(item.saga_id, "opened") for item in items]
    await tx.executemany("insert into entries (saga_id, kind) values ($1, $2)", rows)
    return [{"opened": True} for _ in items]


async def reject_entry(tx: Transaction, items: Sequence[StepItem]) -> None:
    for item in items:
        await tx.execute(
            "insert into entries (saga_id, kind, note) values ($1, 'rejected', $2)",
            item.saga_id,
            (item.error or {}).get("code"),
        )


async def hold(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    answers: list[Json | BulkheadError] = []
    for item in items:
        amount = item.input["amount"]
        taken = await tx.execute(
            "update account set available = available - $1 where id = 1 and available >= $1", amount
        )
        if taken == "UPDATE 0":
            answers.append(Broke(amount=amount))
            continue
        await tx.execute("insert into holds values ($1, $2)", item.saga_id, amount)
        answers.append({"held": amount})
    return answers


async def release(tx: Transaction, items: Sequence[StepItem]) -> None:
    for item in items:
        amount = await tx.fetchval(
            "delete from holds where saga_id = $1 returning amount", item.saga_id
        )
        await tx.execute("update account set available = available + $1 where id = 1", amount)


async def confirm(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    rows = [(item.saga_id, "confirmed") for item in items]
    await tx.executemany("insert into entries (saga_id, kind) values ($1, $2)", rows)
    return [{"confirmed": True} for _ in items]


def transfer_saga(bank: Bank) -> Saga:
    return Saga(
        "transfer",
        (
            (
                DatabaseStep("open", "alpha", open_entry, reject_entry),
                DatabaseStep("hold", "beta", hold, release),
            ),
            (ExternalStep("charge", bank.charge, bank.find, bank.refund, timeout_s=2),),
            (DatabaseStep("confirm", "alpha", confirm),),
        ),
        pivot="charge",
        answer=lambda item: {"amount": item.input["amount"], "key": item.outputs["charge"]["key"]},
    )


def transfer_application(bank: Bank) -> Application:
    return Application(
        "transfer",
        "Transfers",
        Topology(
            "transfer",
            (
                Database("alpha", (Table("entries", key=("saga_id", "kind")),), HERE / "alpha"),
                Database("beta", (Table("account"), Table("holds")), HERE / "beta"),
            ),
        ),
        outside=lambda _: bank,
        sagas=lambda outside: (transfer_saga(outside),),
    )


async def transfer(system: System, saga_id: UUID, amount: int = 10, hashed: str = "h") -> Json:
    saga = system.sagas.saga("transfer")
    return await system.sagas.run(saga, saga_id, {"amount": amount}, request_hash=hashed)


@dataclass(frozen=True)
class Books:
    """What the databases and the bank say about one transfer."""

    kinds: frozenset[str]
    held: int
    available: int
    state: str | None


async def read_books(system: System, saga_id: UUID) -> Books:
    async with system.database("alpha").transaction(SERVICE) as tx:
        rows = await tx.fetch("select kind from entries where saga_id = $1", saga_id)
        state = await tx.fetchval("select state from bulkhead.sagas where id = $1", saga_id)
    async with system.database("beta").transaction(SERVICE) as tx:
        held = await tx.fetchval("select coalesce(sum(amount), 0) from holds")
        available = await tx.fetchval("select available from account")
    return Books(frozenset(row["kind"] for row in rows), held, available, state)


async def verify_books(system: System, bank: Bank, saga_id: UUID) -> str | None:
    """Check that the transfer happened as a whole or not at all; return its state."""
    books = await read_books(system, saga_id)
    assert books.held + books.available == 100
    assert books.held == bank.kept, f"held {books.held}, charged {bank.kept}: {books}"
    match books.state:
        case "completed":
            assert books.kinds == {"opened", "confirmed"}
            assert books.held > 0
        case "compensated":
            assert "confirmed" not in books.kinds
            assert books.held == 0
        case None:
            assert books.kinds == frozenset()
            assert books.held == 0
        case other:
            raise AssertionError(f"the saga is still {other}")
    return books.state


SETTINGS = Settings(statement_timeout_s=5.0)
