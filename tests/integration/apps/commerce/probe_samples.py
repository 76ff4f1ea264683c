"""The rows on which the probes of the shop are tried: what the generator cannot guess.

They stand with the tests, because nothing but the tests needs them. Each case beyond the first is a
state of a row on which a policy depends.
"""

from bulkhead.engine.schema.probes.samples import Case, Samples, Sql
from bulkhead.engine.topology import Access, Verb

CLIENTS = frozenset({"anon", "authenticated"})
IS_STAFF = {"private.is_staff": CLIENTS}
STAFF_ALL = Access.of(staff="all")
STAFF_READ = Access.of(staff="select")
MONEY = {"public.currency_code": "EUR", "public.money_amount": 1}
NEVER_CHANGES = frozenset({Verb.UPDATE})
ONLY_ADDED = frozenset({Verb.UPDATE, Verb.DELETE})


def spell(number: int) -> str:
    """A word that is another for each number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)) + "shade"


OF_A_DRAFT = Case("of a draft", parents={"products": "draft"}, access=STAFF_ALL)
USERS = Samples(
    cases={
        "user_profiles": (Case(found=True),),
        "user_preferences": (Case(found=True),),
    },
    values={"user_addresses": {"country": "DE"}},
    user_statement=(
        "insert into auth.users (id, email, aud, role)"
        " values ($1::uuid, $1::uuid::text || '@example.org', 'authenticated', 'authenticated')"
    ),
    callers=IS_STAFF,
)

PRODUCTS = Samples(
    cases={
        "products": (
            Case("published", {"state": "published"}),
            Case("draft", {"state": "draft"}, access=STAFF_ALL),
            Case("another", {"state": "published"}),
            Case("a third", {"state": "published"}),
        ),
        "collections": (
            Case("published", {"published_at": Sql("now() - interval '1 day'")}),
            Case("unpublished", access=STAFF_ALL),
            Case(
                "published later",
                {"published_at": Sql("now() + interval '1 day'")},
                access=STAFF_ALL,
            ),
        ),
        "collection_products": (
            Case(),
            OF_A_DRAFT,
            Case("unpublished", parents={"collections": "unpublished"}, access=STAFF_ALL),
        ),
        "product_variants": (
            Case(),
            OF_A_DRAFT,
            Case("archived", {"archived_at": Sql("now()")}, access=STAFF_ALL),
        ),
        "product_images": (Case(), OF_A_DRAFT),
        "product_attribute_values": (Case(), OF_A_DRAFT),
        "stock": (
            Case(found=True),
            Case(
                "of a draft",
                parents={"product_variants": "of a draft"},
                access=STAFF_READ,
                found=True,
            ),
            Case(
                "archived",
                parents={"product_variants": "archived"},
                access=STAFF_READ,
                found=True,
            ),
        ),
        "inventory_movements": (Case(refused=ONLY_ADDED),),
        "categories": (
            Case(),
            Case("child", parents={"categories": "usual"}),
            Case("grandchild", parents={"categories": "child"}),
        ),
        "product_reviews": (
            Case("approved", {"state": "approved"}, parents={"verified_purchases": "usual"}),
            Case(
                "pending",
                {"state": "pending"},
                parents={"products": "another"},
                access=Access.of(owner="all", staff="select"),
            ),
            Case(
                "rejected",
                {"state": "rejected"},
                parents={"products": "a third"},
                access=Access.of(owner="select delete", staff="select"),
            ),
            Case(
                "of a draft",
                parents={"products": "draft"},
                access=Access.of(owner="select update delete", staff="select"),
            ),
        ),
        "review_votes": (
            Case(foreign=frozenset({"product_reviews"})),
            Case(
                "on a pending review",
                parents={"product_reviews": "pending"},
                foreign=frozenset({"product_reviews"}),
                access=Access.of(owner="select update delete"),
            ),
            Case(
                "on one's own review",
                parents={"product_reviews": "approved"},
                access=Access.of(owner="select update delete"),
            ),
        ),
        "wishlists": (
            Case(),
            Case(
                "of a draft",
                parents={"products": "draft"},
                access=Access.of(owner="select update delete"),
            ),
        ),
        "shopping_cart": (
            Case(),
            Case(
                "of an archived variant",
                parents={"product_variants": "archived"},
                access=Access.of(owner="select update delete"),
                refused_to_clients=NEVER_CHANGES,
            ),
        ),
        "product_search": (Case(found=True, parents={"product_variants": "usual"}),),
    },
    values={
        "products": {"title": lambda n: f"Lamp {spell(n)}"},
        "product_variants": {"options": Sql("jsonb_build_object('n', gen_random_uuid())")},
        "product_attribute_values": {"text_value": lambda n: f"text {n}"},
    },
    acts=(
        "update categories set parent_id = null where depth = 2",
        "update stock set on_hand = 5 where on_hand = 0",
        "update product_reviews set state = 'approved' where state = 'pending'",
    ),
    hidden={
        "stock": frozenset({"on_hand", "reserved", "reorder_level"}),
        "product_reviews": frozenset({"moderated_at", "moderated_by", "moderation_note"}),
    },
    types=MONEY,
    callers=IS_STAFF | {"private.correct_words": CLIENTS},
)
ORDERS = Samples(
    cases={
        "orders": (Case("delivered", {"state": "delivered"}), Case("pending")),
        "order_items": (Case("delivered"), Case("pending", parents={"orders": "pending"})),
        "returns": (
            Case(),
            Case(
                "of an order that was not sent",
                parents={"order_items": "pending"},
                access=Access.of(owner="select", staff="select"),
            ),
        ),
        "support_tickets": (Case(), Case("about an order", parents={"orders": "delivered"})),
        "shipping_events": (Case(refused=NEVER_CHANGES),),
    },
    values={
        "orders": {"items_total": 1, "total": 1},
        "order_items": {"quantity": 500, "line_number": lambda n: n},
        "returns": {"quantity": 1},
        "payment_attempts": {"attempt_no": lambda n: n % 20 + 1},
        "payments": {"amount": 100},
    },
    types=MONEY,
    callers=IS_STAFF,
)

SAMPLES = {"users": USERS, "products": PRODUCTS, "orders": ORDERS}
