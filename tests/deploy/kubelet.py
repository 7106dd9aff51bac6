"""A kubelet of a page: runs the containers of rendered manifests as processes of this machine.

Every pod has an address of its own, a root file system that is read-only but for its volumes, its
container's command and nothing but its environment; it is found by the names of Services once its
probes succeed. What it cannot run are other people's images: their Services are forwarded to real
ones outside. All of it happens in user, mount, network and process namespaces, and ends with them.

    unshare -rmnpf --mount-proc --kill-child python -m tests.deploy.kubelet DIRECTORY

DIRECTORY has ``plan.json`` (:class:`Plan`) and gets ``report.json`` and a log for each container.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import re
import shlex
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.forwarder import Forwarder

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
_POLL_S = 0.1
_OWN = ("/tmp", "/runs", "/scenario", "/lost+found")
"""Of the machine's root directory, what no pod sees."""
_LIVE = ("/proc", "/sys", "/dev")


@dataclass
class Plan:
    objects: list[Object]
    image: str
    """Pods of this image run; all others are somewhere else."""
    forwards: dict[str, str] = field(default_factory=dict)
    """``SERVICE:PORT``, or ``127.0.0.1:PORT`` → a Unix socket that leads to the real one."""
    within_s: float = 90.0


@dataclass
class Pod:
    name: str
    address: str
    labels: dict[str, str]
    spec: Object
    job: bool
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False


def namespaces_refused() -> str:
    """Why this machine has no namespaces for us; empty where it has."""
    command = [*UNSHARE, "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


UNSHARE = ("unshare", "-rmnpf", "--mount-proc", "--kill-child")


class Kubelet:
    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        (directory / "host.conf").write_text("multi on\n")
        (directory / "nsswitch.conf").write_text("hosts: files\n")
        self._executables()
        self.pods = self._pods()

    def named(self, kind: str, name: str) -> Object:
        return next(
            one
            for one in self.plan.objects
            if one["kind"] == kind and one["metadata"]["name"] == name
        )

    def run(self) -> Object:
        forwarder = self._forwarded()
        until = time.monotonic() + self.plan.within_s
        job = next(pod for pod in self.pods if pod.job)
        try:
            for pod in self.pods:
                (pod.directory / "log").touch()
                pod.process = self._start(pod)
            assert job.process is not None
            while job.process.poll() is None and time.monotonic() < until:
                self._probe()
                time.sleep(_POLL_S)
            died = {
                pod.name: pod.process.returncode
                for pod in self.pods
                if pod is not job and pod.process is not None and pod.process.poll() is not None
            }
            return {
                "job": job.process.poll(),
                "ready": [pod.name for pod in self.pods if pod.ready],
                "died": died,
                "ended": self._stop(),
            }
        finally:
            forwarder.close()

    def _stop(self) -> dict[str, int | None]:
        """Exit codes of those that had to be told to end; None for what took more than its time."""
        running = [pod for pod in self.pods if pod.process and pod.process.poll() is None]
        for pod in running:
            assert pod.process is not None
            pod.process.terminate()
        found: dict[str, int | None] = {}
        for pod in running:
            assert pod.process is not None
            try:
                found[pod.name] = pod.process.wait(pod.spec["terminationGracePeriodSeconds"])
            except subprocess.TimeoutExpired:
                pod.process.kill()
                found[pod.name] = None
        return found

    def _pods(self) -> list[Pod]:
        found: list[Pod] = []
        for one in self.plan.objects:
            if one["kind"] not in ("Deployment", "StatefulSet", "Job"):
                continue
            template = one["spec"]["template"]
            if template["spec"]["containers"][0]["image"] != self.plan.image:
                continue
            for number in range(one["spec"].get("replicas", 1)):
                name = f"{one['metadata']['name']}-{number}"
                pod = Pod(
                    name,
                    f"127.0.1.{len(found) + 1}",
                    template["metadata"]["labels"],
                    template["spec"],
                    one["kind"] == "Job",
                    self.directory / name,
                )
                pod.directory.mkdir()
                found.append(pod)
        return found

    def _forwarded(self) -> Forwarder:
        forwarder = Forwarder()
        hosts: dict[str, str] = {}
        for at, to in self.plan.forwards.items():
            name, _, port = at.partition(":")
            if name == "127.0.0.1":
                forwarder.add(at, to)
                continue
            # A port that the Service does not have cannot be reached through it.
            assert int(port) in [
                each["port"] for each in self.named("Service", name)["spec"]["ports"]
            ]
            host = hosts.setdefault(name, f"127.0.2.{len(hosts) + 1}")
            forwarder.add(f"{host}:{port}", to)
        with self.hosts.open("a") as file:
            file.writelines(f"{host} {name}\n" for name, host in hosts.items())
        return forwarder

    def _probe(self) -> None:
        for pod in self.pods:
            container = pod.spec["containers"][0]
            if not pod.ready and succeeds(container, container.get("readinessProbe"), pod.address):
                pod.ready = True
                with self.hosts.open("a") as file:
                    file.writelines(f"{pod.address} {name}\n" for name in self._services(pod))

    def _services(self, pod: Pod) -> list[str]:
        return [
            one["metadata"]["name"]
            for one in self.plan.objects
            if one["kind"] == "Service" and one["spec"]["selector"].items() <= pod.labels.items()
        ]

    def _start(self, pod: Pod) -> subprocess.Popen[bytes]:
        lines = [self._root(pod)]
        lines += [
            f"{self._line(pod, one)} || exit $?" for one in pod.spec.get("initContainers", [])
        ]
        lines.append(f"exec {self._line(pod, pod.spec['containers'][0])}")
        script = pod.directory / "start.sh"
        script.write_text("\n".join(lines) + "\n")
        with (pod.directory / "log").open("ab") as log:
            return subprocess.Popen(
                ["unshare", "-m", "sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _line(self, pod: Pod, container: Object) -> str:
        environment = {one["name"]: self._value(pod, one) for one in container.get("env", [])}
        command = [
            re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], word)
            for word in (*container.get("command", ()), *container.get("args", ()))
        ]
        image = {
            "PATH": "/image:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOSTNAME": pod.name,
        }
        words = [
            *("chroot", str(pod.directory / "root"), "env", "-i"),
            *("-C", container.get("workingDir", "/")),
            *(f"{name}={value}" for name, value in {**image, **environment}.items()),
            *command,
        ]
        return shlex.join(words)

    def _value(self, pod: Pod, one: Object) -> str:
        if "value" in one:
            return str(one["value"])
        source = one["valueFrom"]
        if "fieldRef" in source:
            return {"status.podIP": pod.address}[source["fieldRef"]["fieldPath"]]
        reference = source["secretKeyRef"]
        text: str = self.named("Secret", reference["name"])["stringData"][reference["key"]]
        return text

    def _root(self, pod: Pod) -> str:
        """Shell that makes the pod's root: the machine's, read-only, with its volumes in it."""
        root = pod.directory / "root"
        root.mkdir()
        lines = ["set -e", f"mount -t tmpfs tmpfs {root}"]
        for entry in sorted(Path("/").iterdir()):
            at = f"{root}{entry}"
            if str(entry) in _OWN:
                continue
            if entry.is_symlink():
                lines.append(f"cp -P {entry} {at}")
            elif entry.is_dir():
                lines.append(f"mkdir {at} && mount --rbind {entry} {at}")
        etc = root / "etc"
        lines += [
            f"mount --bind {self.directory / name} {etc / name}"
            for name in ("hosts", "host.conf", "nsswitch.conf")
            if (Path("/etc") / name).exists()
        ]
        lines += [
            f"mount -o remount,bind,ro {root}{entry}"
            for entry in sorted(Path("/").iterdir())
            if str(entry) not in (*_OWN, *_LIVE) and entry.is_dir() and not entry.is_symlink()
        ]
        lines.append(f"mkdir {root}/image && mount --bind {self.directory / 'image'} {root}/image")
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        for mount in pod.spec["containers"][0]["volumeMounts"]:
            at = f"{root}{mount['mountPath']}"
            source = self._volume(pod, volumes[mount["name"]])
            lines.append(f"mkdir -p {at} && mount --bind {source} {at}")
            if mount.get("readOnly"):
                lines.append(f"mount -o remount,bind,ro {at}")
        for needed in (ROOT, Path(sys.prefix), Path(sys.base_prefix)):
            # Under the machine's /tmp, where a pod has its own.
            if str(needed).startswith(tuple(f"{own}/" for own in _OWN)):
                lines.append(f"mkdir -p {root}{needed} && mount --rbind {needed} {root}{needed}")
        lines += [f"mount -o remount,ro {root}", "set +e"]
        return "\n".join(lines)

    def _volume(self, pod: Pod, volume: Object) -> Path:
        if "persistentVolumeClaim" in volume:
            claim: Path = self.directory / "claims" / volume["persistentVolumeClaim"]["claimName"]
            claim.mkdir(parents=True, exist_ok=True)
            return claim
        made: Path = pod.directory / "volumes" / volume["name"]
        made.mkdir(parents=True)
        if "configMap" in volume:
            for name, text in self.named("ConfigMap", volume["configMap"]["name"])["data"].items():
                (made / name).write_text(text)
        return made

    def _executables(self) -> None:
        """What our image has on its PATH."""
        image = self.directory / "image"
        image.mkdir()
        for name, line in (("python", ""), ("hopbench", "-m hopbench ")):
            path = image / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {line}"$@"\n')
            path.chmod(0o755)


def succeeds(container: Object, probe: Object | None, address: str) -> bool:
    """As a kubelet looks, at a port by its name; without a probe a pod is ready."""
    if probe is None:
        return True
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if "tcpSocket" in probe:
        try:
            socket.create_connection((address, ports[probe["tcpSocket"]["port"]]), 1).close()
        except OSError:
            return False
        return True
    asked = probe["httpGet"]
    connection = http.client.HTTPConnection(address, ports[asked["port"]], timeout=1)
    try:
        connection.request("GET", asked["path"])
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def loopback_up() -> None:
    """A new network namespace has it, but down (netdevice(7): SIOCSIFFLAGS, IFF_UP)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))


def run(directory: Path, plan: Plan) -> Object:
    """The report of a kubelet in namespaces of its own. ``directory`` must not exist."""
    directory.mkdir()
    (directory / "plan.json").write_text(json.dumps(asdict(plan)))
    subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.deploy.kubelet", str(directory)],
        cwd=ROOT,
        check=True,
        timeout=plan.within_s + 60,
    )
    report: Object = json.loads((directory / "report.json").read_text())
    return report


def main(directory: Path) -> None:
    loopback_up()
    plan = Plan(**json.loads((directory / "plan.json").read_text()))
    (directory / "report.json").write_text(json.dumps(Kubelet(directory, plan).run()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
