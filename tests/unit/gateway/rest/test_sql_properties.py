"""Whatever is asked: names are quoted names of the schema or the request, values are parameters."""

import re

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.rest.shop import FUNCTIONS, REPRESENTATIONS, TABLES, S, ask, shop

from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.plan import make_plan
from bulkhead.gateway.rest.request import Count, Preferences, Resolution, Return
from bulkhead.gateway.rest.sql import render
from bulkhead.gateway.rest.statement import bind

CONFIG = RestConfig(schemas=(S,), max_rows=100, plan_enabled=True)
MARK = "zqx"
COLUMNS = {name for table in TABLES for name in table.columns}
KNOWN = (
    {S}
    | COLUMNS
    | {table.name.name for table in TABLES}
    | {one.name.name for one in FUNCTIONS}
    | {parameter.name for one in FUNCTIONS for parameter in one.parameters}
    | {part for one in REPRESENTATIONS.values() for part in one.function.split('"') if part}
    | {"last_item", "nothing", "pgrst_source", "pgrst_body"}
    | {"renamed", "count", "sum", "max"}
)
MADE = re.compile(r"pgrst_\d+(_o\d+)?|\w+_j?\d+")
WORDS = re.compile(r"[a-z0-9_$.,:;()=<>!@&|*~#+\-\[\] ]*")

names = st.sampled_from([*sorted(COLUMNS), "nothing", '"odd\\"name"'])
fields = st.one_of(
    names,
    st.builds("{}->>a".format, names),
    st.builds("{}->b->0".format, names),
)
values = st.builds(f"{MARK}{{}}".format, st.text("abc012'\"\\;$-*% ", max_size=12)).map(
    lambda text: text.replace("%", "%25").replace(";", "%3B").replace("+", "%2B")
)
COMPARISONS = ("eq", "neq", "gt", "lte", "cs", "cd", "ov", "sl", "adj", "isdistinct", "eq(any)")
PATTERNS = ("like", "ilike", "match", "imatch", "like(all)", "fts", "plfts(english)")
operators = st.sampled_from((*COMPARISONS, *PATTERNS))
filters = st.one_of(
    st.builds("{}={}.{}".format, fields, operators, values),
    st.builds("{}=not.{}.{}".format, fields, operators, values),
    st.builds("{}=is.null".format, fields),
    st.builds(f"{{}}=in.({MARK}1,{MARK}2)".format, fields),
    st.builds(
        f"or=({{}}.eq.{MARK}3,not.and({{}}.gt.{MARK}4,{{}}.is.true))".format, names, names, names
    ),
)
selected = st.one_of(
    fields,
    st.just("*"),
    st.builds("renamed:{}".format, names),
    st.builds("{}::text".format, fields),
    st.builds("{}.max()".format, names),
    st.builds("renamed:{}.sum()::text".format, names),
    st.just("count()"),
)


relations = st.sampled_from(
    (
        "orders",
        "items",
        "labels",
        "customer_id",
        "customers!billed_to",
        "last_item",
        "order_labels",
        "boss_id",
        "paints",
    )
)


@st.composite
def embeddings(draw: st.DrawFn, depth: int = 2) -> str:
    """An embedding; the relationship may not be there."""
    relation = draw(relations)
    hint = draw(st.sampled_from(["", "!inner", "!left"]))
    spread = draw(st.sampled_from(["", "", "..."]))
    inner = draw(st.lists(selected, max_size=3))
    if depth:
        inner += draw(st.lists(embeddings(depth - 1), max_size=1))
    return f"{spread}{relation}{hint}({','.join(inner)})"


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A query string."""
    parts = []
    select = draw(st.lists(st.one_of(selected, embeddings()), max_size=4))
    if select:
        parts.append(f"select={','.join(select)}")
    parts += draw(st.lists(filters, max_size=3))
    if draw(st.booleans()):
        parts.append(f"order={draw(fields)}.desc.nullslast,{draw(names)}")
    if draw(st.booleans()):
        parts.append("limit=7&offset=3")
    return "&".join(parts)


tables = st.sampled_from([table.name.name for table in TABLES])
preferences = st.builds(
    Preferences,
    returning=st.sampled_from([None, *Return]),
    count=st.sampled_from([None, *Count]),
    resolution=st.sampled_from([None, *Resolution]),
    missing_default=st.sampled_from([None, True, False]),
)
accepts = st.sampled_from(["*/*", "text/csv", "application/vnd.pgrst.object+json"])


def verify(sql: str) -> None:
    names_in_it = {name.replace('""', '"') for name in re.findall(r'"((?:[^"]|"")*)"', sql)}
    unknown = {name for name in names_in_it if name not in KNOWN and not MADE.fullmatch(name)}
    assert unknown <= {'odd"name'}
    assert MARK not in sql
    rest = re.sub(r"'(?:[^']|'')*'", "", re.sub(r'"(?:[^"]|"")*"', "", sql))
    assert WORDS.fullmatch(rest.lower().replace("e||", "||")), rest


@given(
    st.sampled_from(["GET", "HEAD", "PATCH", "DELETE", "POST", "PUT"]),
    tables,
    queries(),
    preferences,
    accepts,
)
def test_a_statement_has_known_names_and_no_values(
    method: str, table: str, query: str, preferred: Preferences, accept: str
) -> None:
    try:
        body = "{}" if method in {"POST", "PATCH", "PUT"} else None
        columns = ["id"] if body else []
        request = ask(
            method,
            f"/{table}?{query}",
            body,
            columns=columns,
            preferences=preferred,
            accept=[accept],
        )
        statement = render(make_plan(request, shop(), CONFIG))
    except RestError:
        return
    verify(statement.sql)
    if statement.explain_sql is not None:
        verify(statement.explain_sql)
    sent = bind(statement, request)
    assert len(sent) == len(set(re.findall(r"\$(\d+)", statement.sql)))


@given(st.lists(values, min_size=1, max_size=3), queries())
def test_arguments_of_a_function_are_parameters(given: list[str], query: str) -> None:
    arguments = "&".join(f"values={value}" for value in given)
    try:
        request = ask("GET", f"/rpc/total?{arguments}&{query}")
        statement = render(make_plan(request, shop(), CONFIG))
    except RestError:
        return
    verify(statement.sql)
