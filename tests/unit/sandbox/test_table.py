import pytest
from tests.unit.sandbox.fake_objects import info_of

from switchyard.sandbox.apiserver.resources import Json, PrinterColumn, ResourceInfo
from switchyard.sandbox.apiserver.table import table

_WIDGET = ResourceInfo(
    group="w.example.com",
    version="v1",
    plural="widgets",
    singular="widget",
    kind="Widget",
    list_kind="WidgetList",
    namespaced=True,
    is_builtin=False,
    printer_columns=(
        PrinterColumn("Size", "integer", ".spec.size", "How large."),
        PrinterColumn("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Wide", "string", ".spec.labels", priority=1),
        PrinterColumn("Since", "date", ".status.since"),
    ),
)


def _cells(info: ResourceInfo, obj: Json) -> dict[str, object]:
    shown = table(info, [obj], {}, "None", headers=True)
    names = [column["name"] for column in shown["columnDefinitions"]]
    return dict(zip(names, shown["rows"][0]["cells"], strict=True))


def test_a_custom_resource_shows_its_printer_columns() -> None:
    obj = {
        "metadata": {"name": "w"},
        "spec": {"size": 3, "labels": {"a": "b"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "since": "not a time"},
    }
    cells = {"Name": "w", "Size": 3, "Ready": "True", "Wide": '{"a":"b"}', "Since": "<unknown>"}
    assert _cells(_WIDGET, obj) == cells
    columns = table(_WIDGET, [], {}, "", headers=True)["columnDefinitions"]
    assert [(c["type"], c["priority"]) for c in columns[1:]] == [
        ("integer", 0),
        ("string", 0),
        ("string", 1),
        ("date", 0),
    ]
    assert columns[1]["description"] == "How large."


def test_what_a_custom_resource_lacks_is_null() -> None:
    cells = _cells(_WIDGET, {"metadata": {"name": "w"}, "spec": {"size": "three"}})
    assert cells == {"Name": "w", "Size": None, "Ready": None, "Wide": None, "Since": None}


@pytest.mark.parametrize(
    ("include", "kind"),
    [
        ("None", None),
        ("Metadata", "PartialObjectMetadata"),
        ("Object", "Widget"),
        ("", "PartialObjectMetadata"),
    ],
)
def test_a_row_carries_what_was_asked_for(include: str, kind: str | None) -> None:
    obj = {"apiVersion": "w.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    row = table(_WIDGET, [obj], {}, include, headers=False)["rows"][0]
    assert (row["object"] and row["object"]["kind"]) == kind


def test_later_tables_of_a_watch_repeat_no_columns() -> None:
    assert "columnDefinitions" not in table(_WIDGET, [], {}, "", headers=False)


def _pod(status: Json, **metadata: str) -> Json:
    return {"metadata": {"name": "p", **metadata}, "spec": {"containers": [{}, {}]}, "status": status}


@pytest.mark.parametrize(
    ("pod", "ready", "status", "restarts"),
    [
        (_pod({"phase": "Pending"}), "0/2", "Pending", "0"),
        (
            _pod({"phase": "Running", "containerStatuses": [{"ready": True, "state": {"running": {}}}]}),
            "1/2",
            "Running",
            "0",
        ),
        (
            _pod(
                {
                    "phase": "Running",
                    "containerStatuses": [
                        {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                    ],
                }
            ),
            "0/2",
            "CrashLoopBackOff",
            "3",
        ),
        (
            _pod({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}),
            "0/2",
            "ExitCode:3",
            "0",
        ),
        (_pod({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted", "0"),
        (_pod({"phase": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z"), "0/2", "Terminating", "0"),
    ],
)
def test_a_pods_row_tells_where_it_stands(pod: Json, ready: str, status: str, restarts: str) -> None:
    cells = _cells(info_of("Pod"), pod)
    assert (cells["Ready"], cells["Status"], cells["Restarts"]) == (ready, status, restarts)


@pytest.mark.parametrize(
    ("kind", "group", "obj", "column", "shown"),
    [
        (
            "Service",
            "",
            {"spec": {"ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}},
            "Port(s)",
            "80:30080/TCP",
        ),
        ("Service", "", {"spec": {"type": "LoadBalancer"}}, "External-IP", "<pending>"),
        ("Service", "", {"spec": {"selector": {"b": "2", "a": "1"}}}, "Selector", "a=1,b=2"),
        (
            "Node",
            "",
            {
                "spec": {"unschedulable": True},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            },
            "Status",
            "Ready,SchedulingDisabled",
        ),
        ("Node", "", {"spec": {}}, "Status", "Unknown"),
        ("Deployment", "apps", {"spec": {"replicas": 3}, "status": {"readyReplicas": 1}}, "Ready", "1/3"),
        ("ConfigMap", "", {"data": {"a": ""}, "binaryData": {"b": ""}}, "Data", 2),
        ("PodDisruptionBudget", "policy", {"spec": {"minAvailable": 1}}, "Max Unavailable", "N/A"),
        ("Event", "", {"series": {"count": 7}, "count": 2}, "Count", 7),
        ("Event", "", {"involvedObject": {"kind": "Pod", "name": "p"}}, "Object", "pod/p"),
        (
            "EndpointSlice",
            "discovery.k8s.io",
            {"endpoints": [{"addresses": list("abcde")}]},
            "Endpoints",
            "a,b,c + 2 more...",
        ),
        ("ReplicaSet", "apps", {"spec": "odd"}, "Desired", 0),
    ],
)
def test_a_built_in_kinds_cell(kind: str, group: str, obj: Json, column: str, shown: object) -> None:
    assert _cells(info_of(kind, group), {"metadata": {"name": "x"}, **obj})[column] == shown
