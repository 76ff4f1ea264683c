"""What the API says about itself, to anybody."""

from starlette.responses import Response

from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.call import Call

MAX_AGE_S = 600
PROVIDERS = (
    *("apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly", "github", "gitlab"),
    *("google", "kakao", "keycloak", "linkedin", "linkedin_oidc", "notion", "slack"),
    *("slack_oidc", "snapchat", "spotify", "twitch", "twitter", "workos", "zoom"),
)


async def get_health(call: Call) -> Response:  # noqa: ARG001
    """Say that the API is there."""
    return answer_json(
        {"version": "v2.180.0", "name": "GoTrue", "description": "Bulkhead identity"}
    )


async def get_settings(call: Call) -> Response:
    """Say how one can sign in."""
    settings = call.identity.settings
    return answer_json(
        {
            "external": {
                **dict.fromkeys(PROVIDERS, False),
                "anonymous_users": settings.anonymous_enabled,
                "email": settings.email_enabled,
                "phone": settings.phone_enabled,
            },
            "disable_signup": not settings.sign_up_enabled,
            "mailer_autoconfirm": call.identity.autoconfirm,
            "phone_autoconfirm": settings.phone_autoconfirm,
            "sms_provider": "bulkhead" if settings.phone_enabled else "",
            "saml_enabled": False,
            "saml_private_key_next_configured": False,
            "passkeys_enabled": False,
        }
    )


async def get_jwks(call: Call) -> Response:
    """Publish the keys with which others can verify our tokens."""
    return answer_json(call.identity.tokens.keyring.keys.to_jwks(), headers=_cacheable())


async def get_openid_configuration(call: Call) -> Response:
    """Say where everything is, for programs that know OpenID Connect.

    Source: OpenID Connect Discovery 1.0, section 3. There is no endpoint for other applications
    to sign in at, which that standard requires; what is said is what there is.
    """
    issuer = call.identity.issuer
    return answer_json(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "userinfo_endpoint": f"{issuer}/user",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["password", "refresh_token", "pkce"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256", "plain"],
            "claims_supported": [
                *("aud", "exp", "iat", "iss", "sub", "email", "phone", "role", "aal", "amr"),
                *("session_id", "is_anonymous", "app_metadata", "user_metadata"),
            ],
        },
        headers=_cacheable(),
    )


def _cacheable() -> dict[str, str]:
    return {"cache-control": f"public, max-age={MAX_AGE_S}"}
