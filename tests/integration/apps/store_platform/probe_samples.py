"""The rows on which the probes of the master are tried: what the generator cannot guess."""

from bulkhead.engine.schema.probes.samples import Case, Samples, Sql
from bulkhead.engine.topology import Verb

CLIENTS = frozenset({"anon", "authenticated"})
ONLY_ADDED = frozenset({Verb.UPDATE, Verb.DELETE})


def spell(number: int) -> str:
    """A word that is another for each number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)) + "shade"


def year(number: int) -> str:
    """The first day of another year for each number."""
    return f"{1000 + number % 8000}-01-01"


MASTER = Samples(
    cases={
        "users": (Case(found=True),),
        "audit_logs": (Case(refused=ONLY_ADDED),),
        "subscriptions": (Case(values={"status": "active"}),),
    },
    values={
        "stores": {"slug": spell},
        "platform_settings": {"name": spell},
        "audit_logs": {"action": "store.created"},
        "api_usage_logs": {"method": "GET"},
        "revenue_reports": {"month": year},
        "usage_statistics": {"day": year},
        "billing_transactions": {
            "period_start": Sql("now()"),
            "period_end": Sql("now() + interval '1 month'"),
        },
    },
    types={
        "public.currency_code": "EUR",
        "public.money_amount": 1,
        "public.plan_name": "free",
    },
    user_statement=(
        "insert into auth.users (id, email, aud, role)"
        " values ($1::uuid, $1::uuid::text || '@example.org', 'authenticated', 'authenticated')"
    ),
    callers={
        "private.is_staff": CLIENTS,
        "private.today": frozenset({"authenticated"}),
    },
)
