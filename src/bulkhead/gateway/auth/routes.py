"""Every address of the API."""

from bulkhead.gateway.auth.absent import ABSENT_ROUTES
from bulkhead.gateway.auth.admin import ADMIN_ROUTES
from bulkhead.gateway.auth.call import Route
from bulkhead.gateway.auth.codes import (
    get_reauthenticate,
    post_magiclink,
    post_otp,
    post_recover,
    post_resend,
)
from bulkhead.gateway.auth.discovery import (
    get_health,
    get_jwks,
    get_openid_configuration,
    get_settings,
)
from bulkhead.gateway.auth.factors import FACTOR_ROUTES
from bulkhead.gateway.auth.grants import post_token
from bulkhead.gateway.auth.sign_up import post_signup
from bulkhead.gateway.auth.user import delete_identity, get_user, post_logout, put_user
from bulkhead.gateway.auth.verification import get_verify, post_verify

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", get_health),
    Route("GET", "/settings", get_settings),
    Route("GET", "/.well-known/jwks.json", get_jwks),
    Route("GET", "/.well-known/openid-configuration", get_openid_configuration),
    Route("POST", "/signup", post_signup),
    Route("POST", "/token", post_token),
    Route("POST", "/logout", post_logout),
    Route("POST", "/recover", post_recover),
    Route("POST", "/resend", post_resend),
    Route("POST", "/otp", post_otp),
    Route("POST", "/magiclink", post_magiclink),
    Route("GET", "/reauthenticate", get_reauthenticate),
    Route("POST", "/verify", post_verify),
    Route("GET", "/verify", get_verify),
    Route("GET", "/user", get_user),
    Route("PUT", "/user", put_user),
    Route("DELETE", "/user/identities/{identity_id}", delete_identity),
    *FACTOR_ROUTES,
    *ABSENT_ROUTES,
    *ADMIN_ROUTES,
)
