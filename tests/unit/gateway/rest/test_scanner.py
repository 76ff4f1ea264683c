import re

import pytest

from bulkhead.gateway.rest.errors import QueryInvalid
from bulkhead.gateway.rest.parse_fields import columns, field_name, json_path
from bulkhead.gateway.rest.parse_filters import head
from bulkhead.gateway.rest.parse_select import order_terms, select_items
from bulkhead.gateway.rest.query import Field, JsonStep, SelectField
from bulkhead.gateway.rest.scanner import Failure, Scanner, scan

RULES = {
    "columns": columns,
    "head": head,
    "name": field_name,
    "order": order_terms,
    "path": json_path,
    "select": select_items,
}


# What PostgREST's documentation of its own parsers says of each.
@pytest.mark.parametrize(
    ("rule", "text", "column", "details"),
    [
        (
            "select",
            "id,clients(name[])",
            16,
            (
                "unexpected '[' expecting letter, digit, "
                '"-", "->>", "->", "::", ".", ")", "," or end of input'
            ),
        ),
        (
            "select",
            "data->>-78xy",
            11,
            'unexpected \'x\' expecting digit, "->", "::", ".", "," or end of input',
        ),
        ("select", "name::", 7, "unexpected end of input expecting letter or digit"),
        (
            "name",
            ":",
            1,
            'unexpected ":" expecting field name (* or [a..z0..9_$])',
        ),
        ("path", "->>--34", 5, 'unexpected "-" expecting digit'),
        ("path", "->>-xy-4", 5, 'unexpected "x" expecting digit'),
        ("head", "fts().value", 5, 'unexpected ")" expecting operator (eq, gt, ...)'),
        ("head", "eq().value", 4, 'unexpected ")" expecting operator (eq, gt, ...)'),
        ("head", "is().value", 3, 'unexpected "(" expecting operator (eq, gt, ...)'),
        ("head", "in().value", 3, 'unexpected "(" expecting operator (eq, gt, ...)'),
        (
            "order",
            "clients(name,id)",
            8,
            (
                "unexpected '(' expecting letter, digit, "
                '"-", "->>", "->", delimiter (.), "," or end of input'
            ),
        ),
        (
            "order",
            "id.ac",
            4,
            'unexpected "c" expecting "asc", "desc", "nullsfirst" or "nullslast"',
        ),
        (
            "order",
            "id.descc",
            8,
            "unexpected 'c' expecting delimiter (.), \",\" or end of input",
        ),
        ("order", "id.asc.smth34", 8, 'unexpected "s" expecting "nullsfirst" or "nullslast"'),
        (
            "columns",
            "",
            1,
            "unexpected end of input expecting field name (* or [a..z0..9_$])",
        ),
    ],
)
def test_a_failure_tells_the_place_and_what_could_have_stood_there(
    rule: str, text: str, column: int, details: str
) -> None:
    with pytest.raises(QueryInvalid) as caught:
        scan(RULES[rule], text, "x", depth_max=10)
    body = caught.value.to_body()
    assert body["message"] == f'"failed to parse x" (line 1, column {column})'
    assert body["details"] == details


def test_lines_and_tabs_are_counted() -> None:
    with pytest.raises(QueryInvalid) as caught:
        scan(lambda s: s.literal("a\n\tb") and s.literal("c"), "a\n\tb!", "x", depth_max=0)
    assert caught.value.message == '"failed to parse x" (line 2, column 10)'


@pytest.mark.parametrize(
    ("character", "shown"),
    [('"', r'"\""'), ("\\", r'"\\"'), ("\n", r'"\n"'), ("é", r'"\233"'), ("'", '"\'"')],
)
def test_what_was_found_is_shown_with_escapes(character: str, shown: str) -> None:
    with pytest.raises(QueryInvalid) as caught:
        scan(lambda s: s.literal("a"), character, "x", depth_max=0)
    assert caught.value.to_body()["details"] == f'unexpected {shown} expecting "a"'


def test_a_rule_that_has_read_something_is_not_given_another_chance() -> None:
    def first(s: Scanner) -> str:
        return s.literal("a") + s.literal("b")

    scanner = Scanner("ac", depth_max=0)
    with pytest.raises(Failure):
        scanner.either(first, lambda s: s.literal("ac"))
    scanner = Scanner("ac", depth_max=0)
    assert scanner.either(lambda s: s.attempt(first), lambda s: s.literal("ac")) == "ac"


def test_an_attempt_that_fails_reads_nothing_but_is_remembered() -> None:
    scanner = Scanner("ab", depth_max=0)
    assert scanner.maybe(lambda s: s.attempt(lambda s: s.literal("ax"))) is None
    assert scanner.at == 0
    with pytest.raises(Failure) as caught:
        scanner.literal("z")
    assert caught.value.error.expected == ('"ax"', '"z"')


def test_looking_ahead_reads_nothing() -> None:
    scanner = Scanner("(a", depth_max=0)
    scanner.ahead("(")
    scanner.refuse(re.compile("a"))
    assert scanner.at == 0
    with pytest.raises(Failure):
        scanner.refuse(re.compile(r"\("))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("->text", (JsonStep("text"),)),
        ("->!@#$%^&*_a", (JsonStep("!@#$%^&*_a"),)),
        ("->>1", (JsonStep("1", is_index=True, as_text=True),)),
        ("->-1->>k-y", (JsonStep("-1", is_index=True), JsonStep("k-y", as_text=True))),
        ("->0.desc", (JsonStep("0", is_index=True),)),
        ('->"a.b"', (JsonStep("a.b"),)),
        ("->0)", (JsonStep("0", is_index=True),)),
        ("", ()),
    ],
)
def test_json_paths_have_keys_and_indices(text: str, path: tuple[JsonStep, ...]) -> None:
    assert scan(json_path, text, "x", depth_max=0) == path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("identifier with spaces", "identifier with spaces"),
        ("identifier-with-dashes", "identifier-with-dashes"),
        ("123", "123"),
        ("$", "$"),
        ('":"', ":"),
        (" no leading or trailing spaces ", "no leading or trailing spaces"),
        ('" leading and trailing spaces "', " leading and trailing spaces "),
        ("été", "été"),
    ],
)
def test_names_are_trimmed_unless_quoted(text: str, name: str) -> None:
    assert scan(field_name, text, "x", depth_max=0) == name


def test_what_stands_behind_a_select_list_is_left_alone() -> None:
    assert scan(select_items, "id)", "x", depth_max=0) == (SelectField(Field("id")),)
