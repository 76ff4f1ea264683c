"""Facts of the commerce application that matter beyond the database in which they happen."""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """An order has been paid for."""

    type: ClassVar[str] = "commerce.order_confirmed"
    order_id: UUID
    user_id: UUID
    order_number: str
    total: Decimal
    currency: str
    variants: tuple[UUID, ...] = ()

    @property
    def key(self) -> str:
        """Events of one order keep their order."""
        return str(self.order_id)


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """An order was cancelled; what it held or took out of stock goes back."""

    type: ClassVar[str] = "commerce.order_cancelled"
    order_id: UUID
    user_id: UUID
    order_number: str
    reason: str
    was_confirmed: bool
    lines: tuple[tuple[UUID, int], ...] = ()

    @property
    def key(self) -> str:
        """Events of one order keep their order."""
        return str(self.order_id)


@dataclass(frozen=True, slots=True)
class OrderStatusChanged:
    """An order moved on: shipped, delivered, returned."""

    type: ClassVar[str] = "commerce.order_status_changed"
    order_id: UUID
    user_id: UUID
    order_number: str
    status: str
    products: tuple[UUID, ...] = ()

    @property
    def key(self) -> str:
        """Events of one order keep their order."""
        return str(self.order_id)


@dataclass(frozen=True, slots=True)
class UserSignedUp:
    """A person has signed up."""

    type: ClassVar[str] = "commerce.user_signed_up"
    user_id: UUID
    email: str

    @property
    def key(self) -> str:
        """Events of one user keep their order."""
        return str(self.user_id)
