import asyncio

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
NAMESPACES = "/api/v1/namespaces"


def run(coroutine):
    asyncio.run(coroutine)


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name, node=None, **metadata):
    spec = {"containers": [{"name": "c", "image": "i:1"}]}
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


async def until(client, path, condition, seconds=5):
    """The answer once it is as wanted."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        status, body = await client.call("GET", path)
        if condition(status, body):
            return body
        assert asyncio.get_running_loop().time() < deadline, body
        await asyncio.sleep(0.01)


def test_pages_show_one_moment_even_if_the_world_moves_on(running):
    async def check():
        async with running() as client:
            for number in range(5):
                await client.create(CONFIG_MAPS, config_map(f"c{number}"))
            _, first = await client.call("GET", CONFIG_MAPS, limit="2")
            await client.call("DELETE", f"{CONFIG_MAPS}/c3")
            await client.create(CONFIG_MAPS, config_map("c9"))
            _, rest = await client.call("GET", CONFIG_MAPS, **{"continue": first["metadata"]["continue"]})
            names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
            assert names == ["c0", "c1", "c2", "c3", "c4"]

    run(check())


def test_a_page_whose_history_is_gone_must_be_asked_for_anew(running):
    async def check():
        async with running() as client:
            for number in range(3):
                await client.create(CONFIG_MAPS, config_map(f"c{number}"))
            _, first = await client.call("GET", CONFIG_MAPS, limit="1")
            await client.create(CONFIG_MAPS, config_map("c9"))
            client.server.store.compact()
            status, body = await client.call(
                "GET", CONFIG_MAPS, **{"continue": first["metadata"]["continue"]}
            )
            assert (status, body["reason"]) == (410, "Expired")

    run(check())


def test_a_watch_from_a_lost_version_says_gone_in_the_stream(running):
    async def check():
        async with running() as client:
            old = await client.create(CONFIG_MAPS, config_map("a"))
            await client.create(CONFIG_MAPS, config_map("b"))
            client.server.store.compact()
            status, events = await client.watch(
                CONFIG_MAPS, resourceVersion=old["metadata"]["resourceVersion"]
            )
            assert status == 200
            assert [(event["type"], event["object"]["code"]) for event in events] == [("ERROR", 410)]

    run(check())


def test_an_open_watch_sees_each_write_once_and_in_order(running):
    async def check():
        async with running() as client:
            watching = asyncio.ensure_future(client.watch(CONFIG_MAPS, timeoutSeconds="1"))
            await asyncio.sleep(0.1)
            for number in range(50):
                await client.create(CONFIG_MAPS, config_map(f"c{number:02}"))
            _, events = await watching
            assert [event["object"]["metadata"]["name"] for event in events] == [
                f"c{n:02}" for n in range(50)
            ]
            versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
            assert versions == sorted(set(versions))

    run(check())


def test_cutting_watches_ends_them_early(running):
    async def check():
        async with running() as client:
            watching = asyncio.ensure_future(client.watch(CONFIG_MAPS, timeoutSeconds="60"))
            await asyncio.sleep(0.1)
            assert client.server.cut_watches() == 1
            status, _ = await asyncio.wait_for(watching, 5)
            assert status == 200

    run(check())


def test_a_pod_on_a_node_goes_only_when_its_agent_says_so(running):
    async def check():
        async with running() as client:
            await client.create(PODS, pod("p", node="n1"))
            status, body = await client.call("DELETE", f"{PODS}/p")
            assert (status, body["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
            status, again = await client.call("DELETE", f"{PODS}/p", gracePeriodSeconds="5")
            assert again["metadata"]["deletionGracePeriodSeconds"] == 5
            status, _ = await client.call("GET", f"{PODS}/p")
            assert status == 200
            await client.call("DELETE", f"{PODS}/p", gracePeriodSeconds="0")
            status, _ = await client.call("GET", f"{PODS}/p")
            assert status == 404

    run(check())


def test_a_pod_without_a_node_goes_at_once(running):
    async def check():
        async with running() as client:
            await client.create(PODS, pod("p"))
            await client.call("DELETE", f"{PODS}/p")
            status, _ = await client.call("GET", f"{PODS}/p")
            assert status == 404

    run(check())


def test_binding_names_the_node_once(running):
    async def check():
        async with running() as client:
            await client.create(PODS, pod("p"))
            binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}}
            status, _ = await client.call("POST", f"{PODS}/p/binding", binding)
            assert status == 201
            _, bound = await client.call("GET", f"{PODS}/p")
            assert bound["spec"]["nodeName"] == "n1"
            assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [
                ("PodScheduled", "True")
            ]
            status, body = await client.call("POST", f"{PODS}/p/binding", binding)
            assert (status, body["reason"]) == (409, "Conflict")

    run(check())


@pytest.mark.parametrize(("allowed", "expected"), [(0, 429), (1, 201)])
def test_an_eviction_heeds_the_disruption_budget(running, allowed, expected):
    async def check():
        async with running() as client:
            await client.create(PODS, pod("p", labels={"app": "x"}))
            await client.call(
                "PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, "application/merge-patch+json"
            )
            budget = {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "b"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
            }
            await client.create(BUDGETS, budget)
            status = {
                "observedGeneration": 1,
                "disruptionsAllowed": allowed,
                "currentHealthy": 1,
                "desiredHealthy": 1,
                "expectedPods": 1,
            }
            await client.merge(f"{BUDGETS}/b/status", {"status": status})
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
            code, body = await client.call("POST", f"{PODS}/p/eviction", eviction)
            assert code == expected, body
            _, after = await client.call("GET", f"{BUDGETS}/b")
            assert after["status"]["disruptionsAllowed"] == 0

    run(check())


def test_nothing_new_enters_a_namespace_that_is_leaving(running):
    async def check():
        async with running() as client:
            await client.create(
                NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
            )
            status, body = await client.call("DELETE", f"{NAMESPACES}/n")
            assert (status, body["status"]["phase"]) == (200, "Terminating")
            status, body = await client.call("POST", f"{NAMESPACES}/n/configmaps", config_map("c"))
            assert (status, body["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {}}
            await client.call("PUT", f"{NAMESPACES}/n/finalize", namespace)
            status, _ = await client.call("GET", f"{NAMESPACES}/n")
            assert status == 404

    run(check())


def test_a_definition_goes_after_its_objects(running, things):
    async def check():
        async with running() as client:
            await client.create(things.definitions, things.definition({"type": "object", "properties": {}}))
            await client.create(things.path, things.thing("free", {}))
            await client.create(things.path, things.thing("held", {}, finalizers=["example.com/hold"]))
            await client.call("DELETE", f"{things.definitions}/things.example.com")
            body = await until(
                client, f"{things.path}/held", lambda s, b: b["metadata"].get("deletionTimestamp")
            )
            assert body["metadata"]["finalizers"] == ["example.com/hold"]
            status, _ = await client.call("GET", f"{things.definitions}/things.example.com")
            assert status == 200
            await client.merge(f"{things.path}/held", {"metadata": {"finalizers": None}})
            await until(client, f"{things.definitions}/things.example.com", lambda s, _: s == 404)
            status, _ = await client.call("GET", things.path)
            assert status == 404

    run(check())


def test_a_definition_changed_is_served_changed(running, things):
    async def check():
        async with running() as client:
            await client.create(things.definitions, things.definition({"type": "object", "properties": {}}))
            spec = {"type": "object", "properties": {"mode": {"type": "string", "default": "Fast"}}}
            changed = things.definition(spec)["spec"]
            await client.merge(f"{things.definitions}/things.example.com", {"spec": changed})
            thing = await client.create(things.path, things.thing("t", {}))
            assert thing["spec"] == {"mode": "Fast"}

    run(check())


def test_objects_are_kept_over_a_restart_and_definitions_served_again(running, things, tmp_path):
    async def check():
        path = tmp_path / "objects"
        async with running(persist=path) as client:
            await client.create(things.definitions, things.definition({"type": "object", "properties": {}}))
            before = await client.create(things.path, things.thing("t", {}))
        async with running(persist=path) as client:
            status, after = await client.call("GET", f"{things.path}/t")
            assert (status, after) == (200, before)
            newer = await client.create(things.path, things.thing("u", {}))
            assert int(newer["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
            _, events = await client.watch(things.path, resourceVersion=before["metadata"]["resourceVersion"])
            assert events[0]["object"].get("code") == 410 or events[-1]["object"]["metadata"]["name"] == "u"

    run(check())


def test_what_goes_wrong_inside_is_a_500_and_the_server_lives(running, monkeypatch):
    async def check():
        async with running() as client:

            def explode(*_):
                raise RuntimeError("inside")

            monkeypatch.setattr(client.server.surface, "default_builtin", explode)
            status, body = await client.call("POST", CONFIG_MAPS, config_map("a"))
            assert (status, body["kind"], body["reason"]) == (500, "Status", "InternalError")
            assert "inside" not in body["message"]
            monkeypatch.undo()
            await client.create(CONFIG_MAPS, config_map("a"))

    run(check())


@pytest.mark.parametrize(
    ("request_line", "raw", "media", "expected"),
    [
        (("POST", CONFIG_MAPS), b"{", "application/json", 400),
        (("POST", CONFIG_MAPS), b"[]", "application/json", 400),
        (("POST", CONFIG_MAPS), b"{}", "text/plain", 415),
        (("POST", CONFIG_MAPS), b'{"metadata": 5}', "application/json", 400),
        (("POST", CONFIG_MAPS), b'{"metadata": {"labels": {"a": 1}}}', "application/json", 400),
        (
            ("POST", CONFIG_MAPS),
            b'{"metadata": {"name": "x", "ownerReferences": 5}}',
            "application/json",
            400,
        ),
        (("POST", CONFIG_MAPS), b'{"metadata": {"name": 5}}', "application/json", 400),
        (("POST", CONFIG_MAPS), b'{"metadata": {"name": "x", "finalizers": [1]}}', "application/json", 400),
        (("PATCH", f"{CONFIG_MAPS}/a"), b"5", "application/merge-patch+json", 400),
        (("PATCH", f"{CONFIG_MAPS}/a"), b'{"metadata": null}', "application/merge-patch+json", 200),
        (
            ("PATCH", f"{CONFIG_MAPS}/a"),
            b'[{"op": "remove", "path": "/metadata"}]',
            "application/json-patch+json",
            200,
        ),
        (("PATCH", f"{CONFIG_MAPS}/a"), b"metadata: [", "application/apply-patch+yaml", 422),
        (("DELETE", f"{CONFIG_MAPS}/a"), b'{"kind": "Other"}', "application/json", 400),
        (("DELETE", f"{CONFIG_MAPS}/a"), b'{"gracePeriodSeconds": "x"}', "application/json", 400),
        (("PUT", CONFIG_MAPS), b"{}", "application/json", 405),
        (("GET", "/api/v1/namespaces/default/nodes"), b"", "application/json", 404),
        (("GET", f"{CONFIG_MAPS}/a/status"), b"", "application/json", 404),
    ],
)
def test_requests_that_make_no_sense_are_refused_not_failed(running, request_line, raw, media, expected):
    async def check():
        async with running() as client:
            await client.create(CONFIG_MAPS, config_map("a"))
            method, path = request_line
            url = client.server.url + path
            async with client.session.request(
                method, url, data=raw, headers={"Content-Type": media}
            ) as answer:
                text = await answer.text()
                assert answer.status == expected, text

    run(check())
