"""What the API says about itself, to anybody."""

from starlette.responses import Response

from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.call import Call

JWKS_MAX_AGE_S = 600
PROVIDERS = (
    *("anonymous_users", "apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly"),
    *("github", "gitlab", "google", "kakao", "keycloak", "linkedin", "linkedin_oidc", "notion"),
    *("phone", "slack", "slack_oidc", "snapchat", "spotify", "twitch", "twitter", "workos", "zoom"),
)


async def get_health(call: Call) -> Response:  # noqa: ARG001
    """Say that the API is there."""
    return answer_json(
        {"name": "GoTrue", "version": "v2.180.0", "description": "Bulkhead identity"}
    )


async def get_settings(call: Call) -> Response:
    """Say how one can sign in."""
    return answer_json(
        {
            "external": {**dict.fromkeys(PROVIDERS, False), "email": True},
            "disable_signup": not call.identity.settings.sign_up_enabled,
            "mailer_autoconfirm": call.identity.autoconfirm,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
        }
    )


async def get_jwks(call: Call) -> Response:
    """Publish the keys with which others can verify our tokens."""
    headers = {"cache-control": f"public, max-age={JWKS_MAX_AGE_S}"}
    return answer_json(call.identity.tokens.keyring.keys.to_jwks(), headers=headers)
