"""The schema of a tenant for a server of another release."""

from bulkhead.engine.fleet.replication import render_for

HEAD = """--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET transaction_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
SET row_security = off;

--
"""
BODY = """
-- Name: rename(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.rename() RETURNS void
    LANGUAGE sql
    AS $$
UPDATE public.things
SET transaction_timeout = 1;
$$;
"""


def test_a_server_is_not_set_to_what_only_newer_ones_know() -> None:
    older = {"statement_timeout", "row_security"}
    expected = HEAD.replace("SET transaction_timeout = 0;", "") + BODY
    assert render_for(older, HEAD + BODY) == expected
    assert render_for({*older, "transaction_timeout"}, HEAD + BODY) == HEAD + BODY
