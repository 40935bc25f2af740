"""A real API server and etcd from KUBEBUILDER_ASSETS, with the real controllers where they are there too."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from e2e.providers.cluster import (
    Capabilities,
    Cluster,
    ClusterUnavailableError,
    find_kubectl,
    write_kubeconfig,
)
from e2e.providers.plain_http import PlainHttp
from e2e.providers.programs import Programs, free_port, switchyard

REQUIRED = ("etcd", "kube-apiserver")
ADMIN_TOKEN = "envtest-admin"
START_SECONDS = 120


@contextmanager
def start(directory: Path, *, has_fleet: bool) -> Iterator[Cluster]:
    """A control plane of its own, with data that ends with it."""
    binaries = _binaries()
    directory.mkdir(parents=True, exist_ok=True)
    has_real_controllers = all(
        (binaries / name).is_file() for name in ("kube-controller-manager", "kube-scheduler")
    )
    etcd_url, ca_pem = f"http://127.0.0.1:{free_port()}", _write_keys(directory)
    url = f"https://127.0.0.1:{free_port()}"
    kubeconfig = write_kubeconfig(directory / "kubeconfig", url, ADMIN_TOKEN, ca_pem)
    http = PlainHttp(url, ADMIN_TOKEN, str(directory / "ca.pem"))
    programs = Programs(directory)
    try:
        _start_etcd(programs, binaries, directory, etcd_url)
        _start_apiserver(programs, binaries, directory, etcd_url, url)
        programs.wait_until(
            "kube-apiserver ready", lambda: http.get("/readyz").code == 200, seconds=START_SECONDS
        )
        if has_real_controllers:
            _start_controllers(programs, binaries, directory, kubeconfig)
            programs.wait_until(
                "controllers at work",
                lambda: http.get("/api/v1/namespaces/default/serviceaccounts/default").code == 200,
                seconds=START_SECONDS,
            )
        if has_fleet or not has_real_controllers:
            command = switchyard(
                "sandbox", "nodes", "--kubeconfig", kubeconfig, "--fleet", "default" if has_fleet else "none"
            )
            programs.start("nodes", command if has_real_controllers else [*command, "--controllers"])
        if has_fleet:
            programs.wait_until(
                "nodes registered", lambda: bool(http.get("/api/v1/nodes").body["items"]), seconds=30
            )
        yield Cluster(
            provider="envtest",
            url=url,
            token=ADMIN_TOKEN,
            ca_path=directory / "ca.pem",
            kubeconfig=kubeconfig,
            kubectl_path=find_kubectl(binaries),
            capabilities=Capabilities(
                controllers=True,
                nodes=has_fleet,
                own_nodes=True,
                real_apiserver=True,
            ),
            forget_history=lambda: _compact(etcd_url),
        )
    finally:
        programs.stop()


def _binaries() -> Path:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        raise ClusterUnavailableError(
            "CLUSTER=envtest needs KUBEBUILDER_ASSETS: a folder with "
            + ", ".join(REQUIRED)
            + ", kubectl and, if you have them, kube-controller-manager and kube-scheduler"
        )
    missing = [name for name in REQUIRED if not (Path(folder) / name).is_file()]
    if missing:
        raise ClusterUnavailableError(f"KUBEBUILDER_ASSETS={folder} lacks {', '.join(missing)}")
    return Path(folder).resolve()


def _write_keys(directory: Path) -> bytes:
    """The CA certificate. Server certificate, service-account key and token file are written beside it."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    server.private_key_pem.write_to_path(directory / "server.key")
    server.cert_chain_pems[0].write_to_path(directory / "server.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (directory / "accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (directory / "tokens.csv").write_text(f'{ADMIN_TOKEN},kubernetes-admin,admin,"system:masters"\n')
    return authority.cert_pem.bytes()


def _start_etcd(programs: Programs, binaries: Path, directory: Path, etcd_url: str) -> None:
    peer_url = f"http://127.0.0.1:{free_port()}"
    programs.start(
        "etcd",
        [
            binaries / "etcd",
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
    )


def _start_apiserver(programs: Programs, binaries: Path, directory: Path, etcd_url: str, url: str) -> None:
    # Service-account admission stays off, as in the recordings: without it pods need no token volume.
    # 127.0.0.1 is no valid endpoint address, hence no endpoint reconciler.
    programs.start(
        "kube-apiserver",
        [
            binaries / "kube-apiserver",
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={url.rsplit(':', 1)[1]}",
            f"--cert-dir={directory}",
            f"--tls-cert-file={directory / 'server.pem'}",
            f"--tls-private-key-file={directory / 'server.key'}",
            f"--token-auth-file={directory / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={directory / 'accounts.key'}",
            f"--service-account-signing-key-file={directory / 'accounts.key'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
        ],
    )


def _start_controllers(programs: Programs, binaries: Path, directory: Path, kubeconfig: Path) -> None:
    shared = [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]
    programs.start(
        "kube-controller-manager",
        [
            binaries / "kube-controller-manager",
            *shared,
            f"--secure-port={free_port()}",
            f"--cert-dir={directory / 'controller-manager'}",
            f"--service-account-private-key-file={directory / 'accounts.key'}",
            f"--root-ca-file={directory / 'ca.pem'}",
            f"--flex-volume-plugin-dir={directory / 'flex'}",
            "--node-monitor-grace-period=300s",
        ],
    )
    programs.start(
        "kube-scheduler",
        [
            binaries / "kube-scheduler",
            *shared,
            f"--secure-port={free_port()}",
            f"--cert-dir={directory / 'scheduler'}",
        ],
    )


def _compact(etcd_url: str) -> None:
    """Makes etcd forget all but the latest revision, through its JSON gateway."""

    def ask(path: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(etcd_url + path, json.dumps(body).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as response:
            answer: dict[str, dict[str, str]] = json.load(response)
        return answer

    latest = ask("/v3/kv/range", {"key": "AA==", "limit": 1})["header"]["revision"]
    try:
        ask("/v3/kv/compaction", {"revision": latest, "physical": True})
    except urllib.error.HTTPError as error:
        if "has been compacted" not in error.read().decode():
            raise
