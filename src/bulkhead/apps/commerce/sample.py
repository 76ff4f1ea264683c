"""A shop to look at: 200 products in 20 shelves, with reviews, stock, customers and coupons.

Everything follows from the words in `sample/catalogue.json`, ids included, so that the sample is
the same wherever it is loaded, and loading it again changes nothing.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from bulkhead.capabilities.identity import Identity, create_user
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import derive_id

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.system import System

QUERIES = load_queries(__package__, "sample/queries.sql")
WORDS = Path(__file__).parent / "sample" / "catalogue.json"
PASSWORD = "harbour lights"  # noqa: S105 - of people who exist in samples only
OPENED_AT = dt.datetime(2025, 3, 1, 9, tzinfo=dt.UTC)
STEP = dt.timedelta(hours=29)
SHADES = ("dbe4e8", "e8dfd3", "d9e3d6", "e6d8dc", "e3dcea", "d6e0ea")

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True, slots=True)
class SampleShop:
    """The rows of the sample, by table."""

    categories: Rows = field(default_factory=list)
    attributes: Rows = field(default_factory=list)
    products: Rows = field(default_factory=list)
    variants: Rows = field(default_factory=list)
    images: Rows = field(default_factory=list)
    values: Rows = field(default_factory=list)
    receipts: Rows = field(default_factory=list)
    collections: Rows = field(default_factory=list)
    collection_products: Rows = field(default_factory=list)
    reviewers: Rows = field(default_factory=list)
    reviews: Rows = field(default_factory=list)
    votes: Rows = field(default_factory=list)
    addresses: Rows = field(default_factory=list)
    coupons: Rows = field(default_factory=list)


async def load_sample(system: System) -> Sequence[str]:
    """Load the sample into the three databases, and say what there is to try.

    Repeatable. Each database is loaded in one transaction, users first; what was taken out of a
    sample that had been loaded to its end stays out.
    """
    words = load_words()
    if not await _is_loaded(system, words):
        await _load_shop(system, words)
    shelves = [shelf for department in words["departments"] for shelf in department["shelves"]]
    products = sum(len(shelf["products"]) for shelf in shelves)
    customers = ", ".join(person["email"] for person in words["customers"])
    return (
        f"{products} products in {len(words['departments']) + len(shelves)} categories",
        f"Sign in as {customers} or, with more rights, {words['staff']['email']}",
        f"Their password is '{PASSWORD}'",
        f"Coupons: {', '.join(coupon['code'] for coupon in words['coupons'])}",
        "Cards: tok_visa, tok_chargeDeclined, tok_insufficientFunds, tok_pending, tok_timeout",
    )


def load_words() -> Row:
    """The words that the sample is made of."""
    words: Row = json.loads(WORDS.read_text(encoding="utf-8"))
    return words


def build_shop(words: Row) -> SampleShop:
    """Make all rows of the sample from its words; always the same."""
    shop = SampleShop()
    for position, attribute in enumerate(words["attributes"]):
        row = {"unit": None, "searchable": False, **attribute, "position": position}
        shop.attributes.append({"id": _id("attribute", attribute["code"]), **row})
    for name in words["reviewers"]:
        email = f"{name.split()[0].lower()}.reviews@example.com"
        shop.reviewers.append({"id": _id("reviewer", name), "email": email, "name": name})
    for position, department in enumerate(words["departments"]):
        shop.categories.append(_category(department, None, position))
        for place, shelf in enumerate(department["shelves"]):
            shop.categories.append(_category(shelf, department["slug"], place))
            for title in shelf["products"]:
                _add_product(shop, words, shelf, title)
    for position, collection in enumerate(words["collections"]):
        _add_collection(shop, collection, position)
    for person in words["customers"]:
        shop.addresses.extend(_addresses(person))
    for coupon in words["coupons"]:
        shop.coupons.append({"id": _id("coupon", coupon["code"]), **coupon})
    return shop


async def _is_loaded(system: System, words: Row) -> bool:
    """Whether it was loaded to its end, which are the coupons, and no database is new since."""
    emails = [person["email"] for person in words["customers"]]
    title = words["departments"][0]["shelves"][0]["products"][0]
    coupons = [_id("coupon", coupon["code"]) for coupon in words["coupons"]]
    for database, query, value in (
        ("orders", QUERIES.has_coupons, coupons),
        ("products", QUERIES.is_loaded, _id("product", slug_of(title))),
        ("users", QUERIES.has_customers, emails),
    ):
        async with system.database(database).transaction(SERVICE, read_only=True) as tx:
            if not await tx.fetchval(query, value):
                return False
    return True


async def _load_shop(system: System, words: Row) -> None:
    shop = build_shop(words)
    assert system.application.people is not None, "the shop has users"
    await _load_people(system.application.people(system), words, shop)
    await _load_products(system.database("products"), shop)
    async with system.database("orders").transaction(SERVICE) as tx:
        await tx.execute(QUERIES.insert_coupons, _json(shop.coupons))


async def _load_people(people: Identity, words: Row, shop: SampleShop) -> None:
    accounts: list[tuple[Row, Row]] = [(person, {}) for person in words["customers"]]
    accounts.append((words["staff"], {"role": "staff"}))
    async with people.users.transaction(SERVICE) as tx:
        emails = [person["email"] for person, _ in accounts]
        known = {row["email"] for row in await tx.fetch(QUERIES.list_known, emails)}
    for person, metadata in accounts:
        if person["email"] not in known:
            await create_user(
                people,
                email=person["email"],
                password=PASSWORD,
                app_metadata=metadata,
                user_metadata={"full_name": person["name"], "display_name": person["name"]},
            )
    async with people.users.transaction(SERVICE) as tx:
        await tx.execute(QUERIES.insert_reviewers, _json(shop.reviewers))
        await tx.execute(QUERIES.insert_addresses, _json(shop.addresses))


async def _load_products(products: OpenDatabase, shop: SampleShop) -> None:
    async with products.transaction(SERVICE) as tx:
        if await tx.fetchval(QUERIES.is_loaded, shop.products[0]["id"]):
            return
        for statement, rows in (
            (QUERIES.insert_categories, shop.categories),
            (QUERIES.insert_attributes, shop.attributes),
            (QUERIES.insert_products, shop.products),
            (QUERIES.insert_variants, shop.variants),
            (QUERIES.insert_images, shop.images),
            (QUERIES.insert_values, shop.values),
            (QUERIES.insert_reviews, shop.reviews),
            (QUERIES.insert_votes, shop.votes),
            (QUERIES.receive_stock, shop.receipts),
            (QUERIES.insert_collections, shop.collections),
            (QUERIES.insert_collection_products, shop.collection_products),
        ):
            await tx.execute(statement, _json(rows))
        await tx.execute(QUERIES.publish_products, [row["id"] for row in shop.products])


def _category(words: Row, above: str | None, position: int) -> Row:
    return {
        "id": _id("category", words["slug"]),
        "parent_id": _id("category", above) if above else None,
        "slug": words["slug"],
        "name": words["name"],
        "description": words.get("description"),
        "position": position,
    }


def _add_product(shop: SampleShop, words: Row, shelf: Row, title: str) -> None:
    number = len(shop.products)
    slug = slug_of(title)
    product_id = _id("product", slug)
    shop.products.append(
        {
            "id": product_id,
            "slug": slug,
            "title": title,
            "description": " ".join(_shuffled(shelf["sentences"], slug)),
            "brand": _pick(words["brands"], "brand", slug),
            "category_id": _id("category", shelf["slug"]),
            "created_at": OPENED_AT + STEP * number,
        }
    )
    image = {"id": _id("image", slug), "product_id": product_id, "alt": title}
    shop.images.append({**image, "url": draw(title, number)})
    shop.variants.extend(variants := list(_variants(shelf, product_id, slug)))
    for variant in variants:
        if amount := _number(variant["sku"], "stock") % 40:
            receipt = {"movement_id": _id("receipt", variant["sku"]), "reason": "receipt"}
            shop.receipts.append({**receipt, "variant_id": variant["id"], "delta": amount})
    shop.values.extend(_values(words, shelf, product_id, slug))
    _add_reviews(shop, words, product_id, slug)


def _variants(shelf: Row, product_id: UUID, slug: str) -> Iterator[Row]:
    low, high = shelf["low"], shelf["high"]
    base = low + (high - low) * (_number("price", slug) % 100) // 100
    for position, value in enumerate(shelf["values"]):
        price = Decimal(base + base * position // 12) + Decimal("0.90")
        reduced = _number("sale", slug) % 7 == 0
        yield {
            "id": _id("variant", slug, value),
            "product_id": product_id,
            "sku": f"{''.join(word[0] for word in slug.split('-')).upper()}"
            f"-{_id('sku', slug).hex[-5:].upper()}-{position + 1}",
            "title": value,
            "options": {shelf["option"]: value},
            "price": price,
            "compare_at_price": price + base // 4 + 1 if reduced else None,
            "weight_grams": 100 + _number("weight", slug) % 4000,
            "position": position,
        }


def _values(words: Row, shelf: Row, product_id: UUID, slug: str) -> Iterator[Row]:
    kinds = {attribute["code"]: attribute["kind"] for attribute in words["attributes"]}
    for code, choices in shelf["facts"].items():
        yield {
            "id": _id("value", slug, code),
            "product_id": product_id,
            "attribute_id": _id("attribute", code),
            "kind": kinds[code],
            f"{kinds[code]}_value": _fact(code, choices, slug),
        }


def _fact(code: str, choices: Sequence[Any], slug: str) -> Any:  # noqa: ANN401 - one of the choices
    """What the name of the product says, else anything that is possible."""
    said = [choice for choice in choices if str(choice) in slug.split("-")]
    if code in slug.split("-"):
        return True
    return said[0] if said else _pick(choices, "value", slug, code)


def _add_reviews(shop: SampleShop, words: Row, product_id: UUID, slug: str) -> None:
    for place, reviewer in enumerate(_shuffled(shop.reviewers, slug)[: _number("n", slug) % 8]):
        rating = _pick("5554445432351", "rating", slug, place)
        title, body = _pick(words["reviews"][rating], "review", slug, place)
        review_id = _id("review", slug, reviewer["name"])
        shop.reviews.append(
            {
                "id": review_id,
                "product_id": product_id,
                "user_id": reviewer["id"],
                "author_name": reviewer["name"],
                "rating": int(rating),
                "title": title,
                "body": body,
                "state": "pending" if _number("state", slug, place) % 15 == 0 else "approved",
                "created_at": OPENED_AT + STEP * (len(shop.products) + 3 * place),
            }
        )
        voter = _pick(shop.reviewers, "voter", slug, place)
        if voter is not reviewer:
            helpful = _number("helpful", slug, place) % 4 > 0
            vote = {"review_id": review_id, "user_id": voter["id"], "helpful": helpful}
            shop.votes.append(vote)


def _add_collection(shop: SampleShop, words: Row, position: int) -> None:
    collection_id = _id("collection", words["slug"])
    names = ("slug", "name", "description")
    row = {"id": collection_id, "position": position, **{name: words[name] for name in names}}
    shop.collections.append(row)
    shop.collection_products.extend(
        {"collection_id": collection_id, "product_id": product["id"], "position": place}
        for place, product in enumerate(_members(shop, words))
    )


def _members(shop: SampleShop, words: Row) -> Iterable[Row]:
    if "every" in words:
        return shop.products[:: -words["every"]]
    if "below" in words:
        cheap = {row["product_id"] for row in shop.variants if row["price"] < words["below"]}
        return [product for product in shop.products if product["id"] in cheap]
    shelves = {_id("category", slug) for slug in words["shelves"]}
    return [product for product in shop.products if product["category_id"] in shelves][::2]


def _addresses(person: Mapping[str, Any]) -> Iterator[Row]:
    names = ("email", "line1", "city", "postal_code", "country")
    for kind in ("shipping", "billing"):
        place = {name: person[name] for name in names}
        address_id = _id("address", person["email"], kind)
        yield {"id": address_id, "kind": kind, "recipient": person["name"], **place}


def slug_of(title: str) -> str:
    """The title in lower case, as it stands in an address: `bosuns-jotter`."""
    plain = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -")
    return "-".join(plain.replace("-", " ").split())


def draw(title: str, number: int) -> str:
    """A picture that needs no file: the first letters of the title on a pale ground."""
    letters = "".join(word[0] for word in title.split()[:2])
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">'
        f'<path fill="#{SHADES[number % len(SHADES)]}" d="M0 0h8v8H0z"/>'
        f'<text x="4" y="5" font-size="3" text-anchor="middle" fill="#445">{letters}</text></svg>'
    )
    return f"data:image/svg+xml,{quote(svg, safe='/=:')}"


def _id(kind: str, *parts: object) -> UUID:
    return derive_id(f"commerce.sample.{kind}", *parts)


def _number(*parts: object) -> int:
    return _id("number", *parts).int & 0xFFFF_FFFF


def _pick(choices: Sequence[Any], *parts: object) -> Any:  # noqa: ANN401 - one of the choices
    return choices[_number(*parts) % len(choices)]


def _shuffled(items: Sequence[Any], *parts: object) -> list[Any]:
    return sorted(items, key=lambda item: _number(str(item), *parts))


def _json(rows: Rows) -> str:
    return json.dumps(rows, default=str)
