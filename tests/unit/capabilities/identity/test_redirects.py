import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.capabilities.identity.redirects import choose_redirect

SITE = "https://shop.example.com"
ALLOWED = ("https://app.example.com/after/*", "shop://signed-in", "https://bad.example*")


@pytest.mark.parametrize(
    "wanted",
    [
        SITE,
        f"{SITE}/",
        f"{SITE}/welcome?a=b#c",
        f"{SITE}:443/welcome",
        "https://app.example.com/after/login?a=b",
        "shop://signed-in",
        "shop://signed-in#part",
    ],
)
def test_a_link_leads_to_places_that_are_allowed(wanted: str) -> None:
    assert choose_redirect(wanted, SITE, ALLOWED) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "/relative",
        "//evil.example",
        "http://shop.example.com",
        "https://shop.example.com:444",
        "https://shop.example.com.evil.example",
        "https://shop.example.com@evil.example",
        "https://evil.example/?https://shop.example.com",
        "https://shop.example.com\\@evil.example",
        "https://evil.example\\.shop.example.com",
        "https://shop.example.com\t.evil.example",
        " https://shop.example.com",
        "https://app.example.com/other/",
        "https://app.example.com/after",
        "https://app.example.com:8443/after/",
        "https://x@app.example.com/after/",
        "https://bad.example",
        "https://bad.example.evil.example/",
        "shop://signed-in/elsewhere",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://[::1",
        "https://shop.example.com:99999999",
        "https://\u0455hop.example.com",
        f"{SITE}/" + "x" * 2000,
    ],
)
def test_to_any_other_place_it_does_not(wanted: str | None) -> None:
    assert choose_redirect(wanted, SITE, ALLOWED) == SITE


@pytest.mark.parametrize(
    "wanted",
    ["http://localhost:3000/welcome", "http://127.0.0.1:5173/", "https://[::1]:8443/x?y=z"],
)
def test_on_the_machine_of_a_developer_it_leads_to_any_page_there(wanted: str) -> None:
    assert choose_redirect(wanted, "http://127.0.0.1:8000", ()) == wanted
    assert choose_redirect(wanted, SITE, ()) == SITE


@pytest.mark.parametrize(
    "wanted",
    [
        "http://localhost.evil.example:3000/",
        "http://localhost@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://evil.example/?http://localhost",
        "app://localhost/",
        "http://2130706433/",
    ],
)
def test_what_only_looks_local_is_elsewhere(wanted: str) -> None:
    site = "http://localhost:8000"
    assert choose_redirect(wanted, site, ()) == site


@given(st.text(alphabet=st.sampled_from(":/@\\?#.*[] \t\nashopexmlc"), max_size=60))
def test_nothing_that_is_pasted_before_our_name_leads_elsewhere(junk: str) -> None:
    chosen = choose_redirect(f"https://{junk}.evil.example/", SITE, ALLOWED)
    assert chosen == SITE or chosen.startswith((f"{SITE}/", f"{SITE}?", f"{SITE}#"))
