"""Schemas of Istio's routing kinds as far as traffic depends on them; everything else is kept as it is.

Field names are those of networking.istio.io/v1. Istio's own definitions keep fields that they do not know in
status alone; so do these.
"""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.gateway.schema_terms import anything, flag, number, record, rows, table, text, whole

Json = dict[str, Any]

_PORT = whole(least=0, most=4294967295, form="int64")
_STRING_MATCH = record({"exact": text(), "prefix": text(), "regex": text()})
_DESTINATION = record(
    {"host": text(), "subset": text(), "port": record({"number": _PORT})}, required=("host",)
)
_PERCENT = record({"value": number()})
_HEADER_OPERATIONS = record({"set": table(text()), "add": table(text()), "remove": rows(text())})
_HEADERS = record({"request": _HEADER_OPERATIONS, "response": _HEADER_OPERATIONS})
_STATUS = anything()

_HTTP_MATCH = record(
    {
        "name": text(),
        "uri": _STRING_MATCH,
        "scheme": _STRING_MATCH,
        "method": _STRING_MATCH,
        "authority": _STRING_MATCH,
        "headers": table(_STRING_MATCH),
        "withoutHeaders": table(_STRING_MATCH),
        "queryParams": table(_STRING_MATCH),
        "port": _PORT,
        "sourceLabels": table(text()),
        "sourceNamespace": text(),
        "gateways": rows(text()),
        "ignoreUriCase": flag(),
        "statPrefix": text(),
    }
)
_HTTP_ROUTE = record(
    {
        "name": text(),
        "match": rows(_HTTP_MATCH),
        "route": rows(
            record(
                {
                    "destination": _DESTINATION,
                    "weight": whole(least=0),
                    "headers": _HEADERS,
                },
                required=("destination",),
            )
        ),
        "redirect": anything(),
        "directResponse": anything(),
        "delegate": record({"name": text(), "namespace": text()}),
        "rewrite": anything(),
        "timeout": text(),
        "retries": anything(),
        "fault": anything(),
        "mirror": _DESTINATION,
        "mirrors": rows(
            record({"destination": _DESTINATION, "percentage": _PERCENT}, required=("destination",))
        ),
        "mirrorPercent": {"type": "integer", "nullable": True, "minimum": 0, "maximum": 4294967295},
        "mirrorPercentage": _PERCENT,
        "corsPolicy": anything(),
        "headers": _HEADERS,
    }
)
VIRTUAL_SERVICE = record(
    {
        "spec": record(
            {
                "hosts": rows(text()),
                "gateways": rows(text()),
                "http": rows(_HTTP_ROUTE),
                "tls": rows(anything()),
                "tcp": rows(anything()),
                "exportTo": rows(text()),
            }
        ),
        "status": _STATUS,
    }
)

_TRAFFIC_POLICY = anything()
DESTINATION_RULE = record(
    {
        "spec": record(
            {
                "host": text(),
                "trafficPolicy": _TRAFFIC_POLICY,
                "subsets": rows(
                    record(
                        {"name": text(), "labels": table(text()), "trafficPolicy": _TRAFFIC_POLICY},
                        required=("name",),
                    )
                ),
                "exportTo": rows(text()),
                "workloadSelector": anything(),
            },
            required=("host",),
        ),
        "status": _STATUS,
    }
)

ISTIO_GATEWAY = record(
    {
        "spec": record(
            {
                "servers": rows(
                    record(
                        {
                            "name": text(),
                            "port": record(
                                {
                                    "number": _PORT,
                                    "protocol": text(),
                                    "name": text(),
                                    "targetPort": _PORT,
                                },
                                required=("number", "protocol", "name"),
                            ),
                            "bind": text(),
                            "hosts": rows(text()),
                            "tls": anything(),
                            "defaultEndpoint": text(),
                        },
                        required=("port", "hosts"),
                    )
                ),
                "selector": table(text()),
            }
        ),
        "status": _STATUS,
    }
)
