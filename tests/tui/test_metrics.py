"""Figures for Prometheus, of a real node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from socket import create_connection
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

import dagbox
from dagbox.broker.machine import Broker
from dagbox.problems import RULES
from dagbox.problems.model import Rule
from dagbox.prometheus import _Quiet, metrics_of, serving_metrics
from tests.tui import sample
from tests.tui.conftest import Served


def scrape(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_the_figures_of_a_node(served: Served) -> None:
    with serving_metrics(served.address, 0) as url:
        assert url.startswith("http://127.0.0.1:")
        found = scrape(url)
        assert of(found, "dagbox_up") == 1
        assert of(found, "dagbox_service_workers", service="reader", state="live") == 1
        assert of(found, "dagbox_worker_up", service="reader", worker="reader") == 1
        before = of(found, "dagbox_service_done_total", service="reader")
        with dagbox.connect(served.address) as db:
            db.get("user", "ada")
        assert of(scrape(url), "dagbox_service_done_total", service="reader") == before + 1


def test_what_is_wrong_is_a_figure_of_each_rule(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_760_000_000.0]
    monkeypatch.setattr("dagbox.prometheus.clock", lambda: now[0])
    with serving_metrics(served.address, 0) as url, dagbox.connect(served.address) as db:
        found = scrape(url)
        assert {of(found, "dagbox_problem", rule=rule.name, severity=severity(rule)) for rule in RULES} == {0.0}
        db.call("control", {"op": "break", "service": "echo", "ttl_ms": 60_000})
        with dagbox.connect(served.address, timeout=60) as other, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.call, "echo", 1)
            while not (held := db.call("control", {"op": "held"})):
                pass
            scrape(url)
            now[0] += 15.0
            assert of(scrape(url), "dagbox_problem", rule="held", severity="watch") == 1
            db.call("control", {"op": "let_go", "id": held[0]["id"]})
            assert waiting.result(20) == 1


def severity(rule: Rule) -> str:
    return "bad" if rule.sign == "✗" else "watch"


def test_connections_that_say_nothing_hold_up_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_Quiet, "timeout", 0.2)
    with serving_metrics(served.address, 0) as url, ExitStack() as stack:
        port = int(url.rpartition(":")[2].partition("/")[0])
        silent = [stack.enter_context(create_connection(("127.0.0.1", port), timeout=10)) for _ in range(20)]
        silent[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert of(scrape(url), "dagbox_up") == 1
        assert [each.recv(1) for each in silent] == [b""] * len(silent)
    assert "Traceback" not in capfd.readouterr().err


def mute(broker: Broker, now: float) -> list[Any]:
    """Have the broker answer nothing itself."""
    vars(broker)["_on_own"] = lambda *_: None
    return []


def unmute(broker: Broker, now: float) -> list[Any]:
    """Undo `mute`."""
    del vars(broker)["_on_own"]
    return []


def test_a_node_that_is_gone_is_down_and_up_again_when_it_is_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagbox.prometheus.ASK_S", 0.3)
    with serving_metrics(str(served.directory), 0) as url:
        assert of(scrape(url), "dagbox_up") == 1
        node_file = served.directory / "node.json"
        kept = node_file.read_text()
        served.broker.call(mute)
        node_file.unlink()
        found = scrape(url)
        assert of(found, "dagbox_up") == 0
        assert len(found) == 1
        served.broker.call(unmute)
        node_file.write_text(kept)
        assert of(scrape(url), "dagbox_up") == 1


def test_only_metrics_are_served_there(served: Served) -> None:
    with serving_metrics(served.address, 0) as url:
        assert of(scrape(url), "dagbox_up") == 1
        with pytest.raises(HTTPError):
            urlopen(url.replace("/metrics", "/"), data=b"x", timeout=10).close()


def test_a_port_that_is_taken_is_told(served: Served) -> None:
    with serving_metrics(served.address, 0) as url:
        port = int(url.partition("127.0.0.1:")[2].partition("/")[0])
        with pytest.raises(dagbox.InvalidArgument, match="cannot serve metrics"), serving_metrics(served.address, port):
            pass


def test_every_figure_has_a_name_of_its_own_and_a_help() -> None:
    families = list(metrics_of(sample.poll(70)))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation and family.name.startswith("dagbox_") for family in families)
    dead = [s for f in families for s in f.samples if s.name == "dagbox_worker_up" and s.labels["worker"] == "reader-3"]
    assert [each.value for each in dead] == [0.0]
