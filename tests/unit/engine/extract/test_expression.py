"""What people write and what servers write back get one form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.expression import canonical

POSTGRESQL, MYSQL = Dialect.POSTGRESQL, Dialect.MYSQL

SAME = [
    (
        POSTGRESQL,
        "state in ('a', 'b')",
        "((state)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
    ),
    (POSTGRESQL, "kind not in (1, 2)", "(kind <> ALL (ARRAY[1, 2]))"),
    (POSTGRESQL, "kind in (1)", "(kind = 1)"),
    (POSTGRESQL, "price between 0 and 9.50", "((price >= (0)::numeric) AND (price <= 9.5))"),
    (POSTGRESQL, "x > -1", "(x > '-1'::integer)"),
    (POSTGRESQL, "slug ~ '^[a-z]+$'", "((slug)::text ~ '^[a-z]+$'::text)"),
    (POSTGRESQL, "slug not like 'a%'", "((slug)::text !~~ 'a%'::text)"),
    (POSTGRESQL, "trim(name) <> ''", "(TRIM(BOTH FROM name) <> ''::text)"),
    (POSTGRESQL, "character_length(name) > 0", "(char_length((name)::text) > 0)"),
    (POSTGRESQL, "not (a = 1 or b is null)", "(NOT ((a = 1) OR (b IS NULL)))"),
    (POSTGRESQL, "a is distinct from b", "(a IS DISTINCT FROM b)"),
    (POSTGRESQL, "day > date '2026-01-01'", "(day > '2026-01-01'::date)"),
    (POSTGRESQL, "cast(a as numeric(8, 2)) > 1", "((a)::numeric(8,2) > (1)::numeric)"),
    (
        POSTGRESQL,
        "case when a then 1 else 2 end = 1",
        "(\nCASE\n    WHEN a THEN 1\n    ELSE 2\nEND = 1)",
    ),
    (POSTGRESQL, "user_id = (select auth.uid())", "(user_id = ( SELECT auth.uid() AS uid))"),
    (
        POSTGRESQL,
        "exists (select 1 from public.orders t where t.id = items.order_id)",
        "(EXISTS ( SELECT 1\n   FROM public.orders t\n  WHERE (t.id = items.order_id)))",
    ),
    (
        POSTGRESQL,
        "a not in (select t.b from public.t)",
        "(NOT (a IN ( SELECT t.b\n   FROM public.t)))",
    ),
    (POSTGRESQL, "E'a\\'b' = c", "('a''b'::text = c)"),
    (MYSQL, "not (a = 1)", "`a` <> 1"),
    (MYSQL, "shown = true", "`shown` = 1"),
    (MYSQL, "slug regexp '^[a-z]+$'", "regexp_like(`slug`,_utf8mb4'^[a-z]+$')"),
    (MYSQL, "length(a) > 1", "octet_length(`a`) > 1"),
    (MYSQL, "current_timestamp(6)", "now(6)"),
    (MYSQL, "a mod 2 = 0", "`a` % 2 = 0"),
    (MYSQL, "'it''s'", "_utf8mb4'it\\'s'"),
]

DIFFERENT = [
    ("a > 1", "a >= 1"),
    ("a > 1", "b > 1"),
    ("a = 1 and b = 2 or c = 3", "a = 1 and (b = 2 or c = 3)"),
    ("a - (b - c)", "a - b - c"),
    ("a in ('x', 'y')", "a in ('x', 'z')"),
    ("a = 'x'", "a = x"),
    ("a is null", "a is not null"),
    ("f(a)", "g(a)"),
    ("a = 'A'", "a = 'a'"),
    ('"A" = 1', "a = 1"),
    ("true", "false"),
    ("t.a = 1 and exists (select 1 from t where t.a = u.a)", "exists (select 1 from t)"),
]


@pytest.mark.parametrize(("dialect", "declared", "written"), SAME)
def test_a_declaration_equals_what_the_server_makes_of_it(
    dialect: Dialect, declared: str, written: str
) -> None:
    assert canonical(declared, dialect) == canonical(written, dialect)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_expressions_that_mean_different_things_differ(
    one: str, other: str, dialect: Dialect
) -> None:
    if dialect is MYSQL:
        one, other = one.replace('"', "`"), other.replace('"', "`")
    assert canonical(one, dialect) != canonical(other, dialect)


def test_what_is_not_understood_is_compared_token_by_token() -> None:
    strange = "a = any (select b from c limit 1)"
    assert canonical(strange, POSTGRESQL) == canonical(strange.replace(" ", "  "), POSTGRESQL)
    assert canonical(strange, POSTGRESQL) != canonical(strange.replace("1", "2"), POSTGRESQL)


def test_no_expression_is_no_text() -> None:
    assert canonical(None, POSTGRESQL) == canonical("  ", POSTGRESQL) == ""


PIECES = st.sampled_from(
    [
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "::",
        "-",
        "+",
        "not",
        "and",
        "or",
        "in",
        "is",
        "null",
        "any",
        "all",
        "array",
        "case",
        "when",
        "then",
        "else",
        "end",
        "between",
        "like",
        "select",
        "exists",
        "from",
        "where",
        "as",
        "trim",
        "both",
        "cast",
        "true",
        "1",
        "1.5",
        "1e9",
        "'a'",
        '"a"',
        "`a`",
        "a",
        "b",
        "f(",
        "=",
        "<>",
        "~",
        "!~~",
        "''",
        "E'\\'",
        "_utf8mb4'a'",
        "distinct",
    ]
)


@given(st.lists(PIECES, max_size=30).map(" ".join) | st.text(), st.sampled_from(list(Dialect)))
def test_any_text_gets_a_form(text: str, dialect: Dialect) -> None:
    found = canonical(text, dialect)
    assert bool(found) == bool(text.strip())
    found.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.50", "1.5"),
        ("0.0000", "0"),
        ("1e2", "100"),
        ("-(1)", "-1.0"),
        ("- - 1", "1"),
        ("-(0)", "0"),
        ("'-7.10'::numeric", "-7.1"),
    ],
)
def test_numbers_are_equal_by_value(one: str, other: str) -> None:
    assert canonical(one, POSTGRESQL) == canonical(other, POSTGRESQL)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9" * 40, "9" * 39 + "8"),
        ("1e999999999", "1e999999998"),
        ("9" * 5000, "9" * 4999 + "8"),
        ("x <> 'NaN'::numeric", "x <> 'Infinity'::numeric"),
    ],
)
def test_monstrous_numbers_are_told_apart_without_being_written_out(one: str, other: str) -> None:
    assert canonical(one, POSTGRESQL) != canonical(other, POSTGRESQL)
    assert len(canonical(one, POSTGRESQL)) <= len(one) + 40


def test_nan_is_the_text_that_it_is_written_as() -> None:
    assert canonical("x <> 'NaN'", POSTGRESQL) == canonical("(x <> 'NaN'::numeric)", POSTGRESQL)


@settings(max_examples=20)  # each is a depth; the deep ones take long
@given(st.integers(1, 3000))
def test_depth_is_bounded(depth: int) -> None:
    assert canonical("(" * depth + "a" + ")" * depth, POSTGRESQL)
