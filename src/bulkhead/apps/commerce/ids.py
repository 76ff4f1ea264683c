"""The ids of the commerce application, each a type of its own."""

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
OrderId = NewType("OrderId", UUID)
ProductId = NewType("ProductId", UUID)
VariantId = NewType("VariantId", UUID)
