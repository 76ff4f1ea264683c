import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.rest import grammar

from bulkhead.gateway.rest.errors import QueryInvalid, RestError
from bulkhead.gateway.rest.parse_query import parse_query
from bulkhead.gateway.rest.query import (
    Argument,
    Field,
    Filter,
    IsValue,
    Logic,
    Operator,
    OrderTerm,
    Query,
    SelectEmbed,
    SelectField,
    SelectItem,
    Slot,
)
from bulkhead.gateway.rest.split import split_query

RESERVED = ("select", "columns", "on_conflict", "order", "limit", "offset", "and", "or")
COUNT = SelectField(Field("count"))


def read(raw: bytes, *, is_call_read: bool = False) -> tuple[Query, tuple[str, ...]]:
    split = split_query(raw, is_call_read=is_call_read)
    query = parse_query(split.shape, is_call_read=is_call_read, depth_max=20, filters_max=100)
    return query, split.values


def read_or_refuse(
    raw: bytes, *, is_call_read: bool = False
) -> tuple[Query, tuple[str, ...]] | RestError:
    try:
        return read(raw, is_call_read=is_call_read)
    except RestError as error:
        return error


def refuse(raw: bytes, *, is_call_read: bool = False) -> tuple[str, str]:
    with pytest.raises(QueryInvalid) as caught:
        read(raw, is_call_read=is_call_read)
    body = caught.value.to_body()
    return body["message"], body["details"]


def count_calls(work: Callable[[], object]) -> int:
    """How many functions `work` calls."""
    calls = 0

    def note(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@given(st.lists(grammar.selects, max_size=4).map(tuple))
def test_a_select_list_reads_back_as_it_was_written(items: tuple[SelectItem, ...]) -> None:
    raw = grammar.render_query([("select", grammar.render_select(items))])
    assert read(raw)[0].select == items


@given(st.lists(grammar.order_terms, min_size=1, max_size=4).map(tuple))
def test_an_order_reads_back_as_it_was_written(terms: tuple[OrderTerm, ...]) -> None:
    raw = grammar.render_query([("order", grammar.render_order(terms))])
    assert read(raw)[0].order == (((), terms),)


@given(grammar.filters().filter(lambda found: found[0].field.name not in RESERVED))
def test_a_filter_reads_back_as_it_was_written(found: tuple[Filter, str]) -> None:
    condition, value = found
    head = grammar.render_head(condition)
    raw = grammar.render_query([(grammar.render_field(condition.field), head + value)])
    query, values = read(raw)
    assert query.conditions == (((), condition),)
    assert values == (() if condition.operator is Operator.IS else (value,))


@given(grammar.groups())
def test_a_group_reads_back_as_it_was_written(found: tuple[Logic, dict[int, str]]) -> None:
    group, expected = found
    text = grammar.render_condition(group, expected)
    key = text[: text.index("(")]
    query, values = read(grammar.render_query([(key, text[text.index("(") :])]))
    assert query.conditions == (((), group),)
    assert dict(enumerate(values)) == expected


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(raw: bytes, is_call_read: bool) -> None:
    outcome = read_or_refuse(raw, is_call_read=is_call_read)
    if isinstance(outcome, RestError):
        assert outcome.http_status == 400
        assert outcome.render_body()


WORDS = st.sampled_from(
    [
        *("select", "order", "or", "and", "not", "eq", "in", "is", "null", "(", ")", ",", "."),
        *("a", "b->>c", '"', "\\", "*", "!", "!inner", "...", "count()", "=", "&", ";", "%", "{"),
        *("fts", "any", "->", "-", "1", " ", "limit", "offset", "columns", "desc", "nullsfirst"),
        *(":", "::", "}"),
    ]
)


@given(st.lists(WORDS, max_size=25), st.booleans())
def test_any_words_of_the_grammar_are_read_or_refused(words: list[str], is_call_read: bool) -> None:
    raw = "".join(words).encode()
    outcome = read_or_refuse(raw, is_call_read=is_call_read)
    if isinstance(outcome, RestError):
        assert outcome.wire_code == "PGRST100"
        assert outcome.to_body()["details"]
        return
    query, values = outcome
    slots = [one.value.index for one in query.arguments]
    open_groups = [condition for _, condition in query.conditions]
    while open_groups:
        condition = open_groups.pop()
        if isinstance(condition, Logic):
            open_groups += condition.items
        elif isinstance(condition.value, Slot):
            slots.append(condition.value.index)
    assert sorted(slots) == list(range(len(values)))


def test_addresses_that_differ_in_values_only_have_one_query() -> None:
    first, second = (
        read(b"id=eq.%d&or=(a.gt.%d,b.in.(%d,9))&limit=%d&select=id" % (n, n, n, n)) for n in (1, 2)
    )
    assert first[0] is second[0]
    assert first[1] == ("1", "1", "(1,9)")
    assert second[1] == ("2", "2", "(2,9)")


def test_values_with_quotes_and_braces_have_the_shape_of_others() -> None:
    plain = split_query(b"or=(a.eq.1,b.cs.2)", is_call_read=False)
    quoted = split_query(b'or=(a.eq."1,)",b.cs.{2,3})', is_call_read=False)
    assert plain.shape == quoted.shape
    assert quoted.values == ("1,)", "{2,3}")


def test_each_level_has_filters_groups_an_order_and_a_limit_of_its_own() -> None:
    query, values = read(
        b"orders.items.id=eq.1&orders.not.or=(a.is.null,b.eq.2)&orders.order=id.desc"
        b"&orders.limit=3&offset=4&orders.items.limit=x"
    )
    assert [path for path, _ in query.conditions] == [("orders", "items"), ("orders",)]
    assert isinstance(query.conditions[1][1], Logic)
    assert query.conditions[1][1].negated
    assert query.order[0][0] == ("orders",)
    assert query.limited == {("orders",), ()}
    assert values == ("1", "2")


def test_what_has_no_operator_is_an_argument_of_a_function_and_may_repeat() -> None:
    query, values = read(b"v=1&v=2&id=eq.3&name=is.null&t=isn", is_call_read=True)
    assert query.arguments == (
        Argument("v", Slot(0)),
        Argument("v", Slot(1)),
        Argument("t", Slot(3)),
    )
    assert values == ("1", "2", "3", "isn")
    assert query.conditions[1][1] == Filter(Field("name"), Operator.IS, is_value=IsValue.NULL)


def test_the_first_select_counts_and_an_empty_one_is_all() -> None:
    assert read(b"select=a&select=b")[0].select == (SelectField(Field("a")),)
    assert read(b"select=")[0].select == ()
    assert read(b"")[0] == Query()


def test_keys_without_a_value_are_not_there() -> None:
    assert read(b"select&id&order&or&&")[0] == Query()


def test_pieces_are_split_at_semicolons_too() -> None:
    assert read(b"a=eq.1;b=eq.2")[1] == ("1", "2")


def test_percent_and_plus_are_decoded_everywhere() -> None:
    query, values = read(b"my+col%22=eq.a%2Bb+c%26&select=%22a%2Cb%22")
    assert values == ("a+b c&",)
    assert query.select == (SelectField(Field("a,b")),)


def test_columns_and_conflict_targets_are_lists_of_names_each_once() -> None:
    query, _ = read(b'columns="a","b c",a&on_conflict=x,y-z')
    assert query.columns == ("a", "b c")
    assert query.on_conflict == ("x", "y-z")


def test_hints_and_joins_stand_in_any_order() -> None:
    one, _ = read(b"select=r!fk!inner(a),r!inner!fk(a),r!inner_table(a)")
    first, second, third = one.select
    assert first == second
    assert isinstance(third, SelectEmbed)
    assert third.hint == "inner_table"


def test_is_reads_its_words_in_any_case() -> None:
    query, _ = read(b"a=not.is.NULL&b=is.Unknown")
    assert [one.is_value for _, one in query.conditions if isinstance(one, Filter)] == [
        IsValue.NULL,
        IsValue.UNKNOWN,
    ]


# The texts are those of PostgREST's own tests and documentation.
@pytest.mark.parametrize(
    ("raw", "message", "details"),
    [
        (
            b"id=0",
            '"failed to parse filter (0)" (line 1, column 1)',
            'unexpected "0" expecting "not" or operator (eq, gt, ...)',
        ),
        (
            b"a.b=noop.0",
            '"failed to parse filter (noop.0)" (line 1, column 1)',
            'unexpected "o" expecting "not" or operator (eq, gt, ...)',
        ),
        (
            b"or=()",
            '"failed to parse logic tree (())" (line 1, column 4)',
            (
                'unexpected ")" expecting field name (* or [a..z0..9_$]), '
                "negation operator (not) or logic operator (and, or)"
            ),
        ),
        (
            b"or=(id.in.1,2,id.eq.3)",
            '"failed to parse logic tree ((id.in.1,2,id.eq.3))" (line 1, column 10)',
            'unexpected "1" expecting "("',
        ),
        (
            b"order=id.asc.nullslasttt",
            '"failed to parse order (id.asc.nullslasttt)" (line 1, column 17)',
            "unexpected 't' expecting \",\" or end of input",
        ),
        (
            b"columns=",
            '"failed to parse columns parameter ()" (line 1, column 1)',
            "unexpected end of input expecting field name (* or [a..z0..9_$])",
        ),
        (
            b"select=data->>--34",
            '"failed to parse select parameter (data->>--34)" (line 1, column 9)',
            'unexpected "-" expecting digit',
        ),
        (
            b":=eq.1",
            '"failed to parse tree path (:)" (line 1, column 1)',
            'unexpected ":" expecting field name (* or [a..z0..9_$])',
        ),
        (
            b"a=is.nul",
            '"failed to parse filter (is.nul)" (line 1, column 7)',
            "unexpected end of input expecting isVal: (null, not_null, true, false, unknown)",
        ),
    ],
)
def test_errors_are_told_as_postgrest_tells_them(raw: bytes, message: str, details: str) -> None:
    assert refuse(raw) == (message, details)


def test_a_condition_that_was_begun_is_no_argument() -> None:
    message, details = refuse(b"a=not.foo", is_call_read=True)
    assert message == '"failed to parse filter (not.foo)" (line 1, column 5)'
    assert details == 'unexpected "f" expecting operator (eq, gt, ...)'


def test_embeddings_nested_too_deeply_are_refused() -> None:
    deep = "a(" * 21 + "b" + ")" * 21
    assert "nested too deeply" in refuse(f"select={deep}".encode())[0]
    assert read(f"select={deep[2:-1]}".encode())[0].select


def test_groups_of_depth_fifty_are_read_and_deeper_ones_refused() -> None:
    deep = "(" + "or(" * 49 + "a.eq.1" + ")" * 50
    assert read(f"and={deep}".encode())[1] == ("1",)
    spaced = "( " + "or( " * 49 + "a.eq.1" + ")" * 50
    assert read(f"and={spaced}".encode())[1] == ("1",)
    for opening in ("or(", "or( ", '"', "not.and("):
        raw = f"and=({opening * 20000}a.eq.1".encode()
        assert refuse(raw)


def test_too_many_conditions_are_refused() -> None:
    assert "too many conditions" in refuse(b"&".join([b"a=eq.1"] * 101))[0]
    group = b",".join([b"a.is.null"] * 101)
    assert "too many conditions" in refuse(b"or=(" + group + b")")[0]
    assert len(read(b"&".join([b"a=eq.1"] * 100))[0].conditions) == 100


HOSTILE = [
    "select={}",
    "select=a({}",
    "select=a->{}",
    "order={}",
    "columns={}",
    "a=in.({}",
    "a=in.({})",
    "or=({}",
    "or=({})",
    "{}",
    "{}=eq.1",
    "limit={}",
]
PIECES = ['"', '","', "a,", '"a"b,', "\\", '"\\', "a(", "(", "->", "-", " ", "a.eq.1,", "1", "."]


@pytest.mark.parametrize("pattern", HOSTILE)
@pytest.mark.parametrize("piece", PIECES)
def test_hostile_queries_take_no_more_than_their_length(pattern: str, piece: str) -> None:
    def work(times: int) -> int:
        return count_calls(lambda: read_or_refuse(pattern.format(piece * times).encode()))

    # Twice the length is not four times the work; what both have in common does not matter.
    assert work(600) < 2.5 * work(300) + 600


def test_names_of_columns_may_be_words_of_the_grammar() -> None:
    assert read(b"select=count")[0].select == (COUNT,)
    assert read(b"not=eq.1&eq=eq.2")[1] == ("1", "2")
