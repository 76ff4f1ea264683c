from bulkhead.demo.client import Answer, parse_head, render_request


def test_a_request_is_rendered_with_its_length_and_headers() -> None:
    request = render_request("POST", "/checkout", {"a": 1}, {"idempotency-key": "536365"})
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /checkout HTTP/1.1"
    assert "idempotency-key: 536365" in lines
    assert f"content-length: {len(body)}" in lines
    assert body == b'{"a": 1}'


def test_a_request_without_a_body_declares_none() -> None:
    request = render_request("GET", "/x", None, {})
    assert request.endswith(b"\r\n\r\n")
    assert b"content-" not in request


def test_the_head_of_an_answer_is_read_whatever_the_case() -> None:
    head = b"HTTP/1.1 409 Conflict\r\nContent-Length: 12\r\nX-Odd: a:b\r\n\r\n"
    assert parse_head(head) == (409, {"content-length": "12", "x-odd": "a:b"})


def test_only_answers_that_stay_the_same_are_final() -> None:
    assert Answer(201, {}, 0).is_final
    assert Answer(409, {"code": "stock_exhausted"}, 0).is_final
    assert not Answer(409, {"code": "saga_in_progress"}, 0).is_final
    assert not Answer(503, "busy", 0).is_final
    assert not Answer(202, {"state": "pending"}, 0).is_final
