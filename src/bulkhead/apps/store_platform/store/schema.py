"""The schema of a store's database, declared once for PostgreSQL, MySQL and MariaDB.

`bulkhead database extract store_platform.store` prints it in the SQL of either. Version 0001 of the
fleet's migrations was made from it; what is changed here needs a migration of each dialect, and a
test holds that the migrations and this agree.
"""

from bulkhead.apps.store_platform.store import catalogue_tables, content_tables, sales_tables
from bulkhead.apps.store_platform.store.columns import METADATA

__all__ = ["METADATA", "catalogue_tables", "content_tables", "sales_tables"]
