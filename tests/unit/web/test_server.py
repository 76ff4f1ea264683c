"""The composed application, asked without a socket."""

from collections.abc import AsyncIterator
from importlib import resources
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from bulkhead.engine.errors import NotFound
from bulkhead.engine.settings import Settings
from bulkhead.gateway.service import Service
from bulkhead.web.server import Mount, WebOptions, create_app

router = APIRouter(prefix="/carts", tags=["carts"])


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    product_id: UUID
    quantity: int


@router.get("/{cart_id}")
async def read_cart(cart_id: UUID) -> Line:
    raise NotFound(what=f"Cart {cart_id}")


@router.post("/{cart_id}/lines", status_code=201)
async def add_line(cart_id: UUID, line: Line) -> Line:
    del cart_id
    return line


@router.get("/{cart_id}/broken")
async def fail(cart_id: str) -> None:
    message = f"the password is {cart_id}"
    raise RuntimeError(message)


MOUNT = Mount("commerce", "A shop", [router])
CART = "/commerce/carts/0190c1d2-aaaa-7bbb-8ccc-123456789012"


def connect(app: object) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with connect(create_app([MOUNT], Settings())) as client:
        yield client


async def test_the_routes_of_an_application_stand_under_its_name(client: httpx.AsyncClient) -> None:
    line = {"product_id": "0190c1d2-aaaa-7bbb-8ccc-123456789012", "quantity": 2}
    answer = await client.post(f"{CART}/lines", json=line)
    assert (answer.status_code, answer.json()) == (201, line)


async def test_an_error_of_the_tree_becomes_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get(CART)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_an_invalid_body_says_where(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{CART}/lines", json={"product_id": "x"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "request_invalid"
    paths = [finding["path"] for finding in answer.json()["errors"]]
    assert paths == ["body.product_id", "body.quantity"]
    assert all(finding.keys() == {"path", "message"} for finding in answer.json()["errors"])


async def test_an_answer_is_not_much_larger_than_what_was_invalid(
    client: httpx.AsyncClient,
) -> None:
    """Of a body that is wrong all over the first errors are told, and no name in full."""
    id_of = "0190c1d2-aaaa-7bbb-8ccc-123456789012"
    strange = {"product_id": id_of, "quantity": 1} | {f"{n}{'x' * 5000}": 0 for n in range(99)}
    answer = await client.post(f"{CART}/lines", json=strange)
    problem = answer.json()
    assert (problem["code"], problem["errors_total"]) == ("request_invalid", 99)
    assert len(problem["errors"]) == 20
    assert len(answer.content) < 10_000


async def test_a_head_is_answered_as_a_get_without_its_body(client: httpx.AsyncClient) -> None:
    for path in ("/livez", CART, "/commerce/nothing", f"{CART}/lines"):
        got, head = await client.get(path), await client.head(path)
        assert head.status_code == got.status_code
        assert head.content == b""
        told = ("content-type", "content-length", "allow")
        assert [head.headers.get(name) for name in told] == [got.headers.get(name) for name in told]
    text = (await client.get("/metrics")).text
    assert 'method="HEAD",route="/commerce/carts/{cart_id}",status="404"' in text


async def test_an_unknown_address_and_a_wrong_method_are_told_apart(
    client: httpx.AsyncClient,
) -> None:
    missing = await client.get("/commerce/nothing")
    wrong = await client.delete(CART)
    assert (missing.status_code, missing.json()["code"]) == (404, "route_missing")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, HEAD"


async def test_nobody_is_sent_to_a_host_that_the_request_names(client: httpx.AsyncClient) -> None:
    for path in (f"{CART}/", f"/{CART}", "/livez/"):
        answer = await client.get(path, headers={"host": "evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (404, "route_missing")
        assert "evil" not in str(answer.headers)


async def test_a_failure_tells_nothing_but_its_request_id(client: httpx.AsyncClient) -> None:
    answer = await client.get("/commerce/carts/swordfish/broken")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "swordfish" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_metrics_name_templates_and_never_paths(client: httpx.AsyncClient) -> None:
    await client.get(CART)
    await client.get("/commerce/secret-path")
    text = (await client.get("/metrics")).text
    assert 'route="/commerce/carts/{cart_id}",status="404"' in text
    assert 'route="unmatched",status="404"' in text
    assert "0190c1d2" not in text
    assert "secret-path" not in text


async def test_a_process_lives_and_is_ready_without_databases(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "ready"}
    assert (await client.get("/readyz")).json() == {"status": "ready", "databases": {}}


async def test_every_answer_is_guarded_against_browsers(client: httpx.AsyncClient) -> None:
    for path in (CART, "/livez", "/nothing", "/docs"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "strict-transport-security" not in headers
    assert (await client.get("/livez")).headers["cache-control"] == "no-store"


async def test_https_is_kept_where_there_is_https() -> None:
    app = create_app([], Settings(site_url="https://shop.example"))
    async with connect(app) as client:
        assert "strict-transport-security" in (await client.get("/livez")).headers


async def test_other_origins_may_read_answers_only_when_they_are_named() -> None:
    origin = {"origin": "https://shop.example"}
    async with connect(create_app([MOUNT], Settings())) as client:
        assert "access-control-allow-origin" not in (await client.get(CART, headers=origin)).headers
    options = WebOptions(cors_origins=("https://shop.example",))
    async with connect(create_app([MOUNT], Settings(), options)) as client:
        named = await client.get(CART, headers=origin)
        other = await client.get(CART, headers={"origin": "https://evil.example"})
    assert named.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers


async def test_the_description_is_openapi_3_1_and_tells_of_problems(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    operation = document["paths"]["/commerce/carts/{cart_id}/lines"]["post"]
    assert operation["tags"] == ["commerce", "carts"]
    assert operation["summary"] == "Add line"
    assert "422" not in operation["responses"]
    problem = operation["responses"]["default"]["content"]["application/problem+json"]
    assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_the_pages_need_no_other_host(client: httpx.AsyncClient) -> None:
    folder = resources.files("bulkhead.web").joinpath("static")
    for file in folder.iterdir():
        path = "/docs" if file.name == "docs.html" else f"/docs/{file.name}"
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert answer.text == file.read_text()
        foreign = answer.text.replace("https://example.com", "")
        assert "http://" not in foreign
        assert "https://" not in foreign
        assert "innerHTML" not in answer.text
        assert " style=" not in answer.text


async def test_every_problem_s_type_leads_to_its_meaning(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/nothing")).json()
    path, code = problem["type"].split("#")
    assert (await client.get(path)).status_code == 200
    errors = (await client.get(f"{path}.json")).json()
    assert code in {error["code"] for error in errors}


async def test_what_is_refused_before_a_route_is_described_for_all_of_them() -> None:
    own = APIRouter(responses={"4XX": {"model": Line}})

    @own.get("/own")
    async def refuse() -> None:
        """Never asked."""

    app = create_app([Mount("commerce", "A shop", [router, own])], Settings())
    async with connect(app) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    both = {"application/json", "application/problem+json"}
    assert paths["/commerce/own"]["get"]["responses"]["4XX"]["content"].keys() == both
    described = paths["/commerce/carts/{cart_id}"]["get"]["responses"]["default"]
    assert described["content"].keys() == {"application/problem+json"}


async def test_the_description_says_where_the_apis_of_a_gateway_stand() -> None:
    async def api(scope: object, receive: object, send: object) -> None:
        """Never asked."""

    service = Service("/commerce/orders/rest/v1", api, 1)
    app = create_app([Mount("commerce", "A shop", [router], services=(service,))], Settings())
    async with connect(app) as client:
        told = (await client.get("/openapi.json")).json()["info"]["description"]
    assert "A shop at /commerce/<database>: REST at /rest/v1" in told
