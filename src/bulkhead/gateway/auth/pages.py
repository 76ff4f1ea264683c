"""Lists a page at a time, as Supabase's Auth server numbers them and links from one to the next."""

from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path

from bulkhead.capabilities.identity.directory.service import Page
from bulkhead.gateway.auth.call import Call
from bulkhead.gateway.auth.errors import RequestInvalid

PER_PAGE = 50
DIGITS_MAX = 19
ORDERS = {"ASC": True, "DESC": False}


def read_page(call: Call) -> Page:
    """The page that `page` and `per_page` ask for; raises RequestInvalid."""
    number, size = _read(call, "page", 1), _read(call, "per_page", PER_PAGE)
    return Page(max(number, 1), max(size, 1))


def read_order(call: Call) -> bool:
    """Whether `sort` asks for the earliest first; raises RequestInvalid."""
    wanted = call.query("sort")
    if wanted is None:
        return False
    field, _, direction = wanted.partition(" ")
    if field != "created_at":
        raise RequestInvalid(reason=f"Bad Sort Parameters: bad field for sort '{field[:40]}'")
    try:
        return ORDERS[direction.upper() or "DESC"]
    except KeyError:
        raise RequestInvalid(
            reason=f"Bad Sort Parameters: bad direction for sort '{direction[:40]}', "
            "only 'asc' and 'desc' allowed"
        ) from None


def page_headers(call: Call, page: Page, total: int) -> dict[str, str]:
    """How many items there are, and the addresses of the next and the last page.

    Clients take `page` for the first parameter, which it is in the order of the alphabet.
    """
    last = -(-total // page.limit)
    links = [f'{_address(call, page.number + 1)}; rel="next"'] if last > page.number else []
    links.append(f'{_address(call, last)}; rel="last"')
    return {"link": ", ".join(links), "x-total-count": str(total)}


def _address(call: Call, number: int) -> str:
    query = dict(parse_qsl(call.request.url.query, keep_blank_values=True))
    path = get_route_path(call.request.scope)
    return f"<{path}?{urlencode(sorted({**query, 'page': str(number)}.items()))}>"


def _read(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX):
        raise RequestInvalid(
            reason=f'Bad Pagination Parameters: strconv.ParseUint: parsing "{text[:40]}": '
            "invalid syntax"
        )
    return int(text)
