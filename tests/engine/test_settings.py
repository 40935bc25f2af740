"""The admin's file: what is taken, and what each mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.core.routing.router_objects import RouterForm
from switchyard.engine.settings import SettingsError, parse_settings

QUERY = 'sum(rate(x{namespace="{namespace}",app="{workload}"}[{window}]))'
TEMPLATE = {"name": "t", "query": QUERY}
SOURCE = {"name": "main", "type": "prometheus", "url": "http://prometheus.monitoring:9090"}


def test_an_empty_file_gives_the_defaults() -> None:
    settings = parse_settings(None)
    assert (settings.currency, settings.price_max_age_days, settings.resync.seconds) == ("USD", 90, 60.0)
    assert settings.metric_sources == ()


def test_everything_can_be_set() -> None:
    settings = parse_settings(
        {
            "currency": "EUR",
            "priceMaxAgeDays": 30,
            "resync": "2m",
            "concurrency": 4,
            "adviceInterval": "5m",
            "metricSources": [
                {**SOURCE, "tokenFile": "/etc/tokens/main", "interval": "30s"},
                {"name": "costs", "type": "opencost", "url": "http://opencost.monitoring:9003"},
            ],
            "metricTemplates": [{"name": "gateway", "query": QUERY, "unit": "requestsPerMinute"}],
            "signalInterval": "10s",
            "prices": {"source": "costs"},
            "router": {
                "image": "registry.example.com/switchyard:1",
                "replicas": 3,
                "workers": 0,
                "resources": {"requests": {"cpu": "2"}, "limits": {}},
                "drainDelay": "0s",
                "grace": "1h",
            },
        }
    )
    assert settings.router.build_form() == RouterForm(
        image="registry.example.com/switchyard:1",
        replicas=3,
        workers=0,
        resources={"requests": {"cpu": "2"}, "limits": {}},
        drain_delay_seconds=0.0,
        grace_seconds=3600.0,
    )
    assert settings.signal_interval.seconds == 10.0
    assert [source.interval and source.interval.seconds for source in settings.metric_sources] == [30.0, None]
    assert settings.metric_templates[0].query == QUERY
    assert settings.prices is not None
    assert settings.prices.source == "costs"
    assert settings.currency == "EUR"
    assert (settings.resync.seconds, settings.advice_interval.seconds) == (120.0, 300.0)
    assert settings.metric_sources[0].token_file == "/etc/tokens/main"


@pytest.mark.parametrize(
    ("document", "field", "hint"),
    [
        ({"curency": "EUR"}, "curency", "no such setting"),
        ({"currency": "euros"}, "currency", "euros"),
        ({"adviceInterval": "1s"}, "adviceInterval", "5s to 1h"),
        ({"priceMaxAgeDays": 0}, "priceMaxAgeDays", "greater than or equal to 1"),
        ({"resync": "1s"}, "resync", "5s to 1h"),
        ({"resync": "soon"}, "resync", "soon"),
        ({"concurrency": 0}, "concurrency", "greater than or equal to 1"),
        ({"metricSources": [{"name": "x"}]}, "metricSources[0].url", "must be given"),
        ({"metricSources": [{**SOURCE, "type": "graphite"}]}, "metricSources[0].type", "prometheus"),
        ({"metricSources": [{**SOURCE, "name": "Not A Name"}]}, "metricSources[0].name", "Not A Name"),
        ({"metricSources": [{**SOURCE, "url": "prometheus:9090"}]}, "metricSources[0].url", "https://"),
        ({"metricSources": [{**SOURCE, "url": "file:///etc/passwd"}]}, "metricSources[0].url", "https://"),
        ({"metricSources": [{**SOURCE, "url": "http://a:b@host"}]}, "metricSources[0].url", "tokenFile"),
        ({"metricSources": [{**SOURCE, "url": "http://host/?q=1"}]}, "metricSources[0].url", "without ?"),
        (
            {"metricSources": [{**SOURCE, "url": "http://169.254.169.254"}]},
            "metricSources[0].url",
            "link-local",
        ),
        ({"metricSources": [{**SOURCE, "url": "http://[fe80::1]/"}]}, "metricSources[0].url", "link-local"),
        (
            {"metricSources": [{**SOURCE, "url": "http://metadata.google.internal"}]},
            "metricSources[0].url",
            "metadata",
        ),
        ({"metricSources": [SOURCE, SOURCE]}, "metricSources", "given twice: main"),
        ({"metricSources": [{**SOURCE, "interval": "0s"}]}, "metricSources[0].interval", "1s to 10m"),
        ({"signalInterval": "1h"}, "signalInterval", "1s to 10m"),
        ({"metricTemplates": [{"name": "t", "query": "sum(x)"}]}, "metricTemplates[0].query", "{namespace}"),
        ({"metricTemplates": [TEMPLATE, TEMPLATE]}, "metricTemplates", "given twice: t"),
        ({"metricTemplates": [{**TEMPLATE, "unit": "dollars"}]}, "metricTemplates[0].unit", "requestsPer"),
        ({"router": {"grace": "10s"}}, "router", "more than drainDelay (10s)"),
        ({"router": {"grace": "61m"}}, "router", "at most 1h"),
        ({"router": {"replicas": 0}}, "router.replicas", "greater than or equal to 1"),
        ({"router": {"resources": {"limits": {"memory": "lots"}}}}, "router.resources.limits.memory", "24Gi"),
        ({"router": {"image": "a b"}}, "router.image", "a b"),
        ({"router": {"imag": "x"}}, "router.imag", "no such setting"),
        ({"prices": {"source": "other"}}, "prices", "metricSources has no other; there are: none"),
        (
            {
                "metricSources": [
                    {**SOURCE, "tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}
                ]
            },
            "metricSources[0].tokenFile",
            "never sent",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_with_its_field_and_a_way_out(document: Any, field: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(document)
    message = str(caught.value)
    assert message.startswith(f"{field}: ")
    assert hint in message


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings({"currency": "x", "concurrency": "many"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(SettingsError, match="mapping"):
        parse_settings(["currency"])
