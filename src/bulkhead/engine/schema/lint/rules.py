"""The rules: how bad a finding is, what it is about and what to do. Their SQL stands beside."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """A hole, or the absence of a wall; nothing should be deployed with it."""
    WARNING = "warning"
    """Probably wrong, or slow under load."""
    INFO = "info"
    """Worth knowing."""


class Category(StrEnum):
    """What a finding is about."""

    SECURITY = "security"
    PERFORMANCE = "performance"
    CORRECTNESS = "correctness"


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check; its finding is muted by `name:object`."""

    name: str
    level: Level
    category: Category
    remediation: str


def _error(name: str, remediation: str, category: Category = Category.SECURITY) -> Rule:
    return Rule(name, Level.ERROR, category, remediation)


def _warning(name: str, category: Category, remediation: str) -> Rule:
    return Rule(name, Level.WARNING, category, remediation)


def _info(name: str, category: Category, remediation: str) -> Rule:
    return Rule(name, Level.INFO, category, remediation)


CATALOGUE_RULES = (
    _error("rls_disabled", "alter table ... enable row level security, and write its policies"),
    _error("rls_not_forced", "alter table ... force row level security"),
    _error("partition_without_rls", "enable and force row level security on the partition too"),
    _warning("rls_without_policy", Category.CORRECTNESS, "write the policy, or revoke the grant"),
    _warning(
        "write_without_read",
        Category.CORRECTNESS,
        "grant select on the key at least, with a policy for the rows that are written",
    ),
    _error("client_holds_table_right", "revoke truncate, references, trigger, maintain"),
    _error("granted_to_everybody", "revoke it from public and grant it to the roles meant"),
    _error("materialized_view_exposed", "move it into a schema that is not exposed"),
    _error("foreign_table_exposed", "move it into a schema that is not exposed"),
    _error("view_bypasses_rls", "alter view ... set (security_invoker = true)"),
    _warning(
        "foreign_key_unindexed", Category.PERFORMANCE, "create an index on the referring columns"
    ),
    _warning(
        "policy_column_unindexed", Category.PERFORMANCE, "create an index that begins with it"
    ),
    _warning(
        "number_accepts_nan",
        Category.CORRECTNESS,
        "use a domain with check (value <> 'NaN'), such as money_amount",
    ),
    _warning("table_without_key", Category.CORRECTNESS, "add a primary key"),
    _info("key_guessable", Category.SECURITY, "use a uuid as the key"),
    _warning(
        "secret_readable",
        Category.SECURITY,
        "grant select on the other columns only, or move it into the vault",
    ),
    _info("publication_shows_all_columns", Category.SECURITY, "filter by policy before forwarding"),
    _error("policy_for_everybody", "alter policy ... to authenticated, or to anon, authenticated"),
    _error("policy_without_check", "alter policy ... with check (...)"),
    _error("policy_all_with_or", "split it: one policy to select, others to write"),
    _error("policy_always_true", "name the rows that may be written"),
    _error("policy_trusts_user_metadata", "read app_metadata instead"),
    _warning("policy_evaluates_per_row", Category.PERFORMANCE, "write (select auth.uid()) instead"),
    _error(
        "policy_reads_own_table",
        "move the query into a function in schema private",
        Category.CORRECTNESS,
    ),
    _error("policy_without_rls", "alter table ... enable row level security"),
    _warning("policy_without_grant", Category.CORRECTNESS, "grant the right or drop the policy"),
    _info("policies_overlap", Category.PERFORMANCE, "check that each may let a row pass alone"),
    _warning("policy_inequality", Category.SECURITY, "say which rows pass, not which do not"),
    _warning("policy_calls_volatile", Category.PERFORMANCE, "declare the function stable"),
    _warning("claims_unguarded", Category.CORRECTNESS, "write nullif(current_setting(...), '')"),
    _error("definer_search_path", "alter function ... set search_path = ''"),
    _error("definer_callable", "revoke execute, or make it security invoker"),
    _warning(
        "definer_granted",
        Category.SECURITY,
        "check the user inside, return no rows of others, or make it security invoker",
    ),
    _error("function_for_everybody", "revoke execute on function ... from public"),
    _error("function_leakproof", "alter function ... not leakproof"),
    _info("function_search_path", Category.SECURITY, "alter function ... set search_path = ''"),
    _warning("function_changes_scope", Category.SECURITY, "leave the scope to the engine"),
    _warning("function_pastes_sql", Category.SECURITY, "use format with %I and %L, and using"),
    _error("schema_creatable", "revoke create on schema ..."),
    _error("schema_open", "revoke usage on schema ..."),
    _error("database_temporary", "revoke temporary on database ..."),
    _error("database_open", "revoke all on database ... from public"),
    _error("role_reaches_bypass", "revoke the membership; use the service login instead"),
    _error("client_role_attributes", "alter role ... with nologin nobypassrls and so on"),
    _error("owner_can_log_in", "alter table ... owner to the owner of the database"),
    _error("default_privilege_open", "alter default privileges ... revoke"),
    _warning("login_without_timeout", Category.PERFORMANCE, "alter role ... set statement_timeout"),
    _warning("extension_exposed", Category.SECURITY, "alter extension ... set schema extensions"),
    _warning("sequence_writable", Category.SECURITY, "grant usage instead of update"),
)
"""Each has a query of its name that returns an object and a detail."""

TOPOLOGY_RULES = (
    _error("table_undeclared", "declare it in the topology, with who may do what"),
    _error("table_missing", "write its migration, or remove the declaration", Category.CORRECTNESS),
    _error("key_differs", "declare the columns of a unique key", Category.CORRECTNESS),
    _error("column_missing", "correct the declaration", Category.CORRECTNESS),
    _warning("owner_unindexed", Category.PERFORMANCE, "create an index that begins with the owner"),
    _info(
        "owner_nullable",
        Category.SECURITY,
        "test that a row without an owner is seen by those only who should",
    ),
    _info(
        "foreign_key_crosses_owners",
        Category.SECURITY,
        "put the owner's column into the key, or test that the policy refuses it",
    ),
    _info(
        "unique_shared_by_owners",
        Category.SECURITY,
        "put the owner's column into the key: an error tells that somebody else has the value",
    ),
)
"""What the declared topology says against what the catalogue has."""
