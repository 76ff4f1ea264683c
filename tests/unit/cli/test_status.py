from bulkhead.cli.status import read_fleets
from bulkhead.engine.monitoring.metrics import Figure
from bulkhead.web.metrics import Metrics


def test_figures_of_fleets_are_read_back_and_added_up_over_servers() -> None:
    fleet = {"application": "shop", "fleet": "stores"}
    figures = [
        Figure("fleet_tenants", 3, {**fleet, "state": "active"}),
        Figure("fleet_tenants", 0, {**fleet, "state": "moving"}),
        Figure("fleet_connections", 2, {**fleet, "server": "a", "state": "in_use"}),
        Figure("fleet_connections", 4, {**fleet, "server": "outside", "state": "idle"}),
        Figure("provisioning_jobs", 1, {**fleet, "state": "queued"}),
        Figure("outbox_waiting", 9, {"application": "shop"}),
    ]
    found = read_fleets(Metrics([lambda: figures]).render().decode())
    assert found == {
        "shop.stores": {"tenants": {"active": 3, "moving": 0}, "connections": 6, "jobs": 1}
    }


def test_a_server_without_fleets_shows_none() -> None:
    assert read_fleets(Metrics().render().decode()) == {}
