"""The chart without a cluster: what it renders with usual and odd values, and what it grants."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import helm_python
import pytest
import yaml

from switchyard.adapters.rbac import CLUSTER_RULES, NAMESPACE_RULES, PolicyRule
from switchyard.adapters.routing.router_key import KEY_SECRET
from switchyard.api import labels
from switchyard.api.crd import KINDS
from switchyard.cli.operator import command as operator_command
from switchyard.core.routing.router_objects import COMPARATOR, ROUTER, RouterForm, select_routers
from switchyard.engine.settings import OperatorSettings, parse_settings

CHART = Path(__file__).parents[2] / "charts" / "switchyard"
ODD_VALUES = {
    "two replicas": {"replicaCount": 2},
    "nothing kept": {"crds": {"keep": False}},
    "no definitions": {"crds": {"install": False}},
    "an account from elsewhere": {"serviceAccount": {"create": False, "name": "given"}},
    "no rights": {"rbac": {"create": False, "aggregate": False}},
    "a digest": {"image": {"digest": "sha256:" + "0" * 64}},
    "a platform that assigns users": {"runAsUser": None},
    "no metrics service": {"metrics": {"service": {"enabled": False}}},
    "monitoring": {"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}},
    "everything about scheduling": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "priorityClassName": "system-cluster-critical",
        "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
    },
    "names that need quotes": {"podAnnotations": {"yes": "true", "version": "1.0"}, "nameOverride": "on"},
    "a long name": {"fullnameOverride": "x" * 63},
    "metric sources": {
        "metricSources": [
            {"name": "open", "type": "prometheus", "url": "http://prometheus:9090"},
            {
                "name": "guarded",
                "type": "prometheus",
                "url": "https://prometheus:9090",
                "tokenSecret": {"name": "prometheus", "key": "bearer"},
            },
        ]
    },
    "guarded by policies": {
        "networkPolicy": {
            "enabled": True,
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
            "routers": {
                "namespaces": ["shop", "search"],
                "callers": [{"namespaceSelector": {"matchLabels": {"role": "ingress"}}}],
                "scrapers": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
            },
        }
    },
    "routers of another form": {
        "settings": {
            "router": {
                "image": "mirror/switchyard:1",
                "replicas": 3,
                "workers": 0,
                "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2", "memory": "2Gi"}},
                "drainDelay": "5s",
                "grace": "15m",
            }
        }
    },
    "extra arguments": {
        "operator": {"extraArgs": ["--no-leader-elect"], "extraEnv": [{"name": "TZ", "value": "UTC"}]}
    },
}


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: dict | None = None, *, release: str = "try", namespace: str = "where") -> list[dict]:
    """All objects of the release, to be read only; the notes are left out."""
    return _render(json.dumps(values), release, namespace)


@cache
def _render(values: str, release: str, namespace: str) -> list[dict]:
    documents = []
    for path, text in _chart().render(json.loads(values), name=release, namespace=namespace).items():
        if not path.endswith(".txt"):
            documents += [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
    return documents


def _only(documents: list[dict], kind: str) -> dict:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def _pod(documents: list[dict]) -> dict:
    return _only(documents, "Deployment")["spec"]["template"]["spec"]


def _rules(documents: list[dict]) -> list[dict]:
    return [rule for each in documents if each["kind"] in {"ClusterRole", "Role"} for rule in each["rules"]]


@pytest.mark.parametrize("values", [None, *ODD_VALUES.values()], ids=["defaults", *ODD_VALUES])
def test_the_chart_lints_without_warnings(values: dict | None) -> None:
    report = helm_python.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("values", [None, *ODD_VALUES.values()], ids=["defaults", *ODD_VALUES])
def test_rendered_objects_are_named_labelled_and_unique(values: dict | None) -> None:
    documents = render(values)
    keys = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents]
    assert len(set(keys)) == len(keys)
    for each in documents:
        assert len(each["metadata"]["name"]) <= 253
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        strings = {**each["metadata"]["labels"], **each["metadata"].get("annotations", {})}
        assert all(isinstance(value, str) for value in strings.values())


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"replicaCount": -1}, "replicaCount"),
        ({"replicas": 2}, "replicas"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"operator": {"logFormat": "xml"}}, "logFormat"),
        ({"settings": {"resync": "often"}}, "resync"),
        ({"metricSources": [{"name": "p", "type": "prometheus", "url": "file:///etc"}]}, "url"),
        ({"metricSources": [{"name": "P!", "type": "prometheus", "url": "http://p"}]}, "name"),
        ({"settings": {"router": {"replicas": 0}}}, "replicas"),
        ({"settings": {"router": {"workers": "all"}}}, "workers"),
        ({"settings": {"router": {"image": "switchyard latest"}}}, "image"),
        ({"settings": {"router": {"grace": "long"}}}, "grace"),
        ({"settings": {"router": {"resources": {"requests": {"cpu": "half"}}}}}, "cpu"),
        ({"settings": {"router": {"port": 80}}}, "port"),
        ({"networkPolicy": {"routers": {"namespaces": ["*"]}}}, "namespaces"),
        ({"networkPolicy": {"routers": {"callers": [{}]}}}, "callers"),
        ({"metrics": {"port": 80}}, "port"),
        ({"runAsUser": 0}, "runAsUser"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values: dict, told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(values)


def test_a_service_account_that_is_not_created_must_be_named() -> None:
    with pytest.raises(helm_python.HelmError, match=r"serviceAccount\.name"):
        render({"serviceAccount": {"create": False}})


def test_a_service_monitor_without_its_service_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match=r"metrics\.service\.enabled"):
        render({"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}})


@pytest.mark.parametrize("values", [None, *ODD_VALUES.values()], ids=["defaults", *ODD_VALUES])
def test_the_pod_is_admitted_by_the_restricted_standard(values: dict | None) -> None:
    """The controls of https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    pod = _pod(render(values))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"].get("runAsUser") != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all({"configMap", "emptyDir", "secret"} & volume.keys() for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_container_is_probed_bounded_and_told_who_it_is() -> None:
    (container,) = _pod(render())["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["resources"]["limits"]["memory"]
    assert {env["name"] for env in container["env"]} >= {"POD_NAME", "POD_NAMESPACE"}


@pytest.mark.parametrize("values", [None, *ODD_VALUES.values()], ids=["defaults", *ODD_VALUES])
def test_the_operator_understands_its_arguments(values: dict | None) -> None:
    (container,) = _pod(render(values))["containers"]
    subcommand, *arguments = container["args"]
    assert subcommand == "operator"
    context = operator_command.make_context("operator", arguments)
    assert context.params["config_file"] == "/etc/switchyard/settings.yaml"
    assert context.params["listen"] == f"0.0.0.0:{container['ports'][0]['containerPort']}"


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "a" * 64
    assert _pod(render({"image": {"tag": "x", "digest": digest}}))["containers"][0]["image"].endswith(
        f"@{digest}"
    )


def test_no_rule_has_a_wildcard_or_reaches_for_other_rights() -> None:
    for rule in _rules(render()):
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not any("*" in word for word in words)
        assert not {"bind", "escalate", "impersonate", "pods/exec", "serviceaccounts/token"} & words
        assert "rbac.authorization.k8s.io" not in words


def test_of_secrets_only_one_of_the_operators_own_can_be_read() -> None:
    documents = render()
    everywhere = [rule for each in documents if each["kind"] == "ClusterRole" for rule in each["rules"]]
    assert not any("secrets" in rule["resources"] for rule in everywhere)
    for rule in _rules(documents):
        if "secrets" in rule["resources"]:
            assert rule["verbs"] == ["create"] or (
                rule["verbs"] == ["get"] and rule["resourceNames"] == [KEY_SECRET]
            )


def test_no_right_is_given_twice() -> None:
    operator = [
        each for each in render() if each["metadata"]["name"] in {"where-try-switchyard", "try-switchyard"}
    ]
    given = [
        (group, resource, verb, tuple(rule.get("resourceNames", ())))
        for rule in _rules(operator)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert len(given) == len(set(given))


def test_namespaces_of_releases_never_share_cluster_roles() -> None:
    names = [
        {each["metadata"]["name"] for each in render(namespace=space) if each["kind"] == "ClusterRole"}
        for space in ("one", "two")
    ]
    assert not names[0] & names[1]


def test_users_roles_are_aggregated_and_never_write_status_or_pools() -> None:
    roles = {
        each["metadata"]["name"]: each
        for each in render()
        if any(label.endswith("/aggregate-to-edit") for label in each["metadata"]["labels"])
    }
    assert set(roles) == {"where-try-switchyard-view", "where-try-switchyard-edit"}
    view, edit = roles["where-try-switchyard-view"], roles["where-try-switchyard-edit"]
    assert set(view["rules"][0]["verbs"]) == {"get", "list", "watch"}
    assert "inferenceworkloads" in edit["rules"][0]["resources"]
    assert set(edit["rules"][0]["resources"]) < set(view["rules"][0]["resources"])
    assert "acceleratorpools" not in edit["rules"][0]["resources"]
    assert not [each for each in edit["rules"][0]["resources"] if "/" in each]
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]


def test_a_change_of_settings_restarts_the_operator() -> None:
    def checksum(values: dict | None) -> str:
        template = _only(render(values), "Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/settings"]

    assert checksum(None) == checksum(None)
    assert checksum(None) != checksum({"settings": {"resync": "61s"}})


def _settings(values: dict | None) -> OperatorSettings:
    return parse_settings(yaml.safe_load(_only(render(values), "ConfigMap")["data"]["settings.yaml"]))


def test_the_operator_reads_the_rendered_settings_and_the_defaults_are_its_own() -> None:
    settings = _settings(None)
    ours = OperatorSettings()
    # which image the operator runs from, only the chart knows
    image = _pod(render())["containers"][0]["image"]
    assert settings == ours.model_copy(update={"router": ours.router.model_copy(update={"image": image})})
    changed = {
        "currency": "EUR",
        "priceMaxAgeDays": 7,
        "resync": "5m",
        "concurrency": 3,
        "adviceInterval": "2m",
    }
    assert _settings({"settings": changed}).model_dump(by_alias=True).items() >= changed.items()


@pytest.mark.parametrize(
    "values",
    [{"image": {"tag": "v9"}}, {"image": {"digest": "sha256:" + "b" * 64}}, {"settings": {"router": None}}],
)
def test_routers_run_from_the_operators_image(values: dict) -> None:
    assert _settings(values).router.image == _pod(render(values))["containers"][0]["image"]


def test_the_form_of_routers_reaches_the_operator() -> None:
    values = ODD_VALUES["routers of another form"]
    form = _settings(values).router.build_form()
    assert (form.image, form.replicas, form.workers) == ("mirror/switchyard:1", 3, 0)
    assert (form.drain_delay_seconds, form.grace_seconds) == (5, 900)
    # as Helm merges values: what is not named keeps its default
    assert form.resources == {
        "requests": {"cpu": "1", "memory": "256Mi"},
        "limits": {"cpu": "2", "memory": "2Gi"},
    }


def _policies(values: dict | None) -> dict[tuple[str, str], dict]:
    return {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"]
        for each in render(values)
        if each["kind"] == "NetworkPolicy"
    }


def _takes(rules: list[dict], port: int) -> list[list[dict] | None]:
    """The peers of each rule that lets the port in; None: everybody."""
    return [
        rule.get("from")
        for rule in rules
        if any(each["port"] <= port <= each.get("endPort", each["port"]) for each in rule["ports"])
    ]


def test_network_policies_come_only_when_asked_for() -> None:
    assert _policies(None) == {}
    assert set(_policies({"networkPolicy": {"enabled": True}})) == {("where", "try-switchyard")}
    assert set(_policies(ODD_VALUES["guarded by policies"])) == {
        ("where", "try-switchyard"),
        ("shop", "try-switchyard-routers"),
        ("search", "try-switchyard-routers"),
    }


def test_only_the_operator_reaches_the_admin_port_of_routers() -> None:
    values = {"networkPolicy": {"enabled": True, "routers": {"namespaces": ["shop"]}}}
    rules = _policies(values)["shop", "try-switchyard-routers"]["ingress"]
    operator = _only(render(values), "Deployment")
    (peers,) = _takes(rules, RouterForm("").admin_port)
    assert peers == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "where"}},
            "podSelector": operator["spec"]["selector"],
        }
    ]
    for port in (1, 80, 8000, 8080, 8443, 65535):
        assert _takes(rules, port) == [None]


def test_callers_and_scrapers_are_let_in_where_they_belong() -> None:
    values = ODD_VALUES["guarded by policies"]
    routers = values["networkPolicy"]["routers"]
    rules = _policies(values)["shop", "try-switchyard-routers"]["ingress"]
    assert _takes(rules, 8000) == [routers["callers"]]
    (peers,) = _takes(rules, 8081)
    assert peers[1:] == routers["scrapers"]


@pytest.mark.parametrize("part", [ROUTER, COMPARATOR])
def test_the_policy_of_routers_selects_what_the_operator_makes(part: str) -> None:
    policy = _policies({"networkPolicy": {"enabled": True, "routers": {"namespaces": ["shop"]}}})
    selector = policy["shop", "try-switchyard-routers"]["podSelector"]
    marks = {labels.MANAGED_BY: labels.MANAGER, **select_routers("chat", part)}
    assert selector["matchLabels"].items() <= marks.items()
    for wanted in selector["matchExpressions"]:
        assert wanted["operator"] == "In"
        assert marks[wanted["key"]] in wanted["values"]


def test_routers_reach_pods_of_workloads_and_nothing_else() -> None:
    policy = _policies({"networkPolicy": {"enabled": True, "routers": {"namespaces": ["shop"]}}})
    (rule,) = policy["shop", "try-switchyard-routers"]["egress"]
    assert rule == {
        "to": [{"podSelector": {"matchExpressions": [{"key": labels.WORKLOAD, "operator": "Exists"}]}}]
    }


def test_metric_sources_reach_the_operator_and_their_tokens_are_mounted() -> None:
    values = ODD_VALUES["metric sources"]
    unguarded, guarded = _settings(values).metric_sources
    assert (unguarded.name, unguarded.token_file) == ("open", None)
    pod = _pod(render(values))
    mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    (volume,) = [volume for volume in pod["volumes"] if "secret" in volume]
    assert volume["secret"] == {"secretName": "prometheus", "items": [{"key": "bearer", "path": "token"}]}
    assert guarded.token_file == f"{mounted[volume['name']]}/token"


def test_templates_prices_and_the_pace_of_signals_reach_the_operator() -> None:
    query = 'sum(rate(x{namespace="{namespace}",app="{workload}"}[{window}]))'
    values = {
        "settings": {"signalInterval": "30s", "prices": {"source": "costs"}},
        "metricSources": [
            {"name": "costs", "type": "opencost", "url": "http://opencost:9003", "interval": "2m"}
        ],
        "metricTemplates": [{"name": "gateway", "query": query, "unit": "requestsPerMinute"}],
    }
    settings = _settings(values)
    assert settings.signal_interval.seconds == 30
    assert settings.metric_sources[0].interval is not None
    assert settings.metric_sources[0].interval.seconds == 120
    assert (settings.metric_templates[0].query, settings.metric_templates[0].unit) == (
        query,
        "requestsPerMinute",
    )
    assert settings.prices is not None
    assert settings.prices.source == "costs"


def test_definitions_are_kept_on_uninstall_unless_told_otherwise() -> None:
    def policies(values: dict | None) -> set[str | None]:
        return {
            each["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for each in render(values)
            if each["kind"] == "CustomResourceDefinition"
        }

    assert policies(None) == {"keep"}
    assert policies({"crds": {"keep": False}}) == {None}
    assert policies({"crds": {"install": False}}) == set()


def test_definitions_are_those_of_the_repository() -> None:
    shipped = {
        each["metadata"]["name"]: each["spec"]
        for each in render()
        if each["kind"] == "CustomResourceDefinition"
    }
    generated = [yaml.safe_load(path.read_text()) for path in (CHART.parents[1] / "crds").glob("*.yaml")]
    assert shipped == {each["metadata"]["name"]: each["spec"] for each in generated}
    assert {definition["names"]["kind"] for definition in shipped.values()} == {kind.name for kind in KINDS}


def test_every_value_is_described_by_the_schema_and_documented() -> None:
    def leaves(values: dict, path: str = "") -> set[str]:
        found = set()
        for name, value in values.items():
            nested = isinstance(value, dict) and value
            found |= leaves(value, f"{path}{name}.") if nested else {f"{path}{name}"}
        return found

    def has(schema: dict, path: str) -> bool:
        for part in path.split("."):
            schema = schema.get("properties", {}).get(part, schema.get("additionalProperties"))
            if not schema:
                return schema == {}
        return True

    schema = _chart().schema
    undescribed = {path for path in leaves(_chart().values) if not has(schema, path)}
    # quantities below resources are Kubernetes' own
    assert {path for path in undescribed if not path.startswith("resources.")} == set()


def test_the_roles_are_exactly_the_rights_that_the_code_declares() -> None:
    def declared(rules: tuple[PolicyRule, ...]) -> list[dict]:
        return [
            {
                "apiGroups": [*rule.api_groups],
                "resources": [*rule.resources],
                **({"resourceNames": [*rule.resource_names]} if rule.resource_names else {}),
                "verbs": [*rule.verbs],
            }
            for rule in rules
        ]

    roles = {each["metadata"]["name"]: each for each in render() if each["kind"] in {"ClusterRole", "Role"}}
    assert roles["where-try-switchyard"]["rules"] == declared(CLUSTER_RULES)
    assert roles["try-switchyard"]["rules"] == declared(NAMESPACE_RULES)
