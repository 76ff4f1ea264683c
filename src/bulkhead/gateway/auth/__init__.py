"""The HTTP API that Supabase's Auth clients speak; what it does is in `capabilities.identity`."""

from bulkhead.gateway.auth.app import auth_app

__all__ = ["auth_app"]
