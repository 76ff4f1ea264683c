import pytest

from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.errors import Invalid


def test_roles_are_called_after_the_database() -> None:
    spec = DatabaseSpec("shop_orders")
    assert spec.owner == "shop_orders_owner"
    assert spec.login(Login.CLIENT) == "shop_orders_client"
    assert spec.login(Login.SERVICE) == "shop_orders_service"


def test_a_clone_has_the_roles_of_its_template() -> None:
    clone = DatabaseSpec("t1", template="shop", role_prefix="shop")
    assert clone.owner == "shop_owner"
    assert clone.login(Login.CLIENT) == "shop_client"


def test_a_clone_may_have_logins_of_its_own() -> None:
    clone = DatabaseSpec("t1", template="shop", role_prefix="shop", login_prefix="t1")
    assert clone.owner == "shop_owner"
    assert clone.login(Login.CLIENT) == "t1_client"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Shop",
        "shop-orders",
        'shop"orders',
        "1shop",
        "pg_shop",
        "postgres",
        "template1",
        "shöp",
        "shop\n",
        "x" * 56,
    ],
)
def test_a_name_that_needs_quoting_or_is_taken_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        DatabaseSpec(name)
    with pytest.raises(Invalid):
        DatabaseSpec("shop", template=name)
    with pytest.raises(Invalid):
        DatabaseSpec("shop", role_prefix=name)


def test_the_longest_name_leaves_room_for_the_longest_suffix() -> None:
    assert len(DatabaseSpec("x" * 55).login(Login.SERVICE)) == 63
