import pytest

from bulkhead.gateway.rest.errors import MediaTypeUnavailable
from bulkhead.gateway.rest.plan_media import (
    BuiltinHandler,
    CustomHandler,
    Explain,
    Media,
    Offer,
    negotiate,
    parse_media_type,
)
from bulkhead.gateway.rest.schema import MediaHandler, Name

PLACES = Name("shop", "places")


def handler_of(name: str, target: Name | None, media_type: str, accepts: str) -> MediaHandler:
    return MediaHandler(
        Name("shop", name), media_type, target, is_aggregate=accepts != "*/*", accepts=accepts
    )


def choose(*accept: str, offer: Offer | None = None) -> Media:
    plain = Offer({}, PLACES, is_whole=True, allows_plan=True)
    return negotiate(offer or plain, accept, has_body=True)


@pytest.mark.parametrize(
    ("accept", "handler", "content_type"),
    [
        ("*/*", BuiltinHandler.JSON, "application/json; charset=utf-8"),
        ("application/json; foo=bar", BuiltinHandler.JSON, "application/json; charset=utf-8"),
        ("text/csv", BuiltinHandler.CSV, "text/csv; charset=utf-8"),
        (
            "Application/Vnd.PgRst.Object+json",
            BuiltinHandler.OBJECT,
            "application/vnd.pgrst.object+json; charset=utf-8",
        ),
        (
            "application/vnd.pgrst.object;nulls=stripped",
            BuiltinHandler.OBJECT_STRIPPED,
            "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
        ),
        (
            "application/vnd.pgrst.array+json;nulls=stripped",
            BuiltinHandler.ARRAY_STRIPPED,
            "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
        ),
        (
            "application/vnd.pgrst.array+json",
            BuiltinHandler.JSON,
            "application/json; charset=utf-8",
        ),
    ],
)
def test_a_media_type_chooses_what_makes_the_body(
    accept: str, handler: BuiltinHandler, content_type: str
) -> None:
    media = choose(accept)
    assert media.handler is handler
    assert media.content_type == content_type
    assert media.is_single == handler.startswith("object")


def test_the_first_media_type_that_is_offered_is_taken() -> None:
    assert choose("image/png", "text/csv", "application/json").handler is BuiltinHandler.CSV


def test_media_types_that_are_not_offered_are_named() -> None:
    with pytest.raises(MediaTypeUnavailable) as caught:
        choose("image/png", "text/html;q=0.5")
    assert caught.value.message == (
        "None of these media types are available: image/png, text/html;q=0.5"
    )


def test_a_plan_says_what_it_explains() -> None:
    media = choose('application/vnd.pgrst.plan+json; for="text/csv"; options=buffers|analyze')
    assert media.explain == Explain(is_json=True, options=("analyze", "buffers"))
    assert media.handler is BuiltinHandler.CSV
    assert media.content_type == (
        'application/vnd.pgrst.plan+json; for="text/csv"; options=analyze|buffers; charset=utf-8'
    )


def test_a_plan_is_not_offered_unless_that_is_enabled() -> None:
    offer = Offer({}, PLACES, is_whole=True, allows_plan=False)
    with pytest.raises(MediaTypeUnavailable):
        choose("application/vnd.pgrst.plan", offer=offer)


def test_a_handler_of_a_table_comes_before_those_of_any_rows() -> None:
    own = handler_of("own", PLACES, "text/tabs", "text/tabs")
    any_rows = handler_of("any", None, "text/tabs", "text/tabs")
    handlers = {(PLACES, "text/tabs"): own, (None, "text/tabs"): any_rows}
    offer = Offer(handlers, PLACES, is_whole=True, allows_plan=False)
    media = choose("text/tabs", offer=offer)
    assert media.handler == CustomHandler(own.function, PLACES)
    assert media.content_type == "text/tabs"
    partial = Offer(handlers, PLACES, is_whole=False, allows_plan=False)
    assert choose("text/tabs", offer=partial).handler == CustomHandler(any_rows.function, None)


def test_a_handler_of_whatever_is_asked_comes_first() -> None:
    anything = handler_of("file", PLACES, "application/octet-stream", "*/*")
    offer = Offer({(PLACES, "*/*"): anything}, PLACES, is_whole=True, allows_plan=False)
    media = choose("application/json", offer=offer)
    assert media.handler == CustomHandler(anything.function, PLACES, is_aggregate=False)
    assert media.content_type == "application/octet-stream"


def test_what_is_no_media_type_stays_as_it_is() -> None:
    assert parse_media_type("nonsense").render() == "nonsense"
