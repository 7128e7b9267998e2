"""Where the server listens. That it does is what every test of a site begins with."""

from __future__ import annotations

import pytest

from deployments.__main__ import PORT, served_port


@pytest.mark.parametrize(
    ("api_url", "port"),
    [
        ("http://127.0.0.1:4300/api", 4300),
        ("http://localhost:4301/api", 4301),
        ("http://gpu-server:4302/api", PORT),
        ("https://localhost:4303/api", PORT),
        ("http://localhost/api", PORT),
    ],
)
def test_the_server_is_started_where_the_others_look_for_it(api_url: str, port: int) -> None:
    assert served_port(api_url) == port
