"""The example in `deploy/`: its files load, and what they refer to in each other exists."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flows.graph import POOLS
from tests import workspace as ws
from tests.flows.prefect_server import Server

DEPLOY = ws.ROOT / "deploy"
IMAGE = "registry.example.org/bestie:1"


def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Every object of the manifests by kind and name."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    found = [each for text in texts for each in yaml.safe_load_all(text)]
    assert {each["metadata"]["namespace"] for each in found} == {"bestie"}
    named = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(named) == len(found)
    return named


def pod_of(name: str) -> dict[str, Any]:
    kind = "StatefulSet" if name == "postgres" else "Deployment"
    return objects()[kind, name]["spec"]["template"]


@pytest.fixture(scope="module", params=POOLS)
def template(request: pytest.FixtureRequest, server: Server) -> tuple[str, dict[str, Any]]:
    """A pool, and the template that a person makes for it."""
    command = [sys.executable, str(DEPLOY / "kubernetes" / "job_template.py"), request.param, IMAGE]
    return request.param, json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout)


def test_a_template_is_one_of_prefect_whose_variables_are_all_declared(template: tuple[str, dict[str, Any]]):
    pool, values = template
    schema = values["variables"]
    jsonschema.Draft202012Validator.check_schema(schema)
    defaults = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
    jsonschema.validate(defaults, schema)
    assert defaults["image"] == IMAGE
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(values["job_configuration"])))
    assert {"env", "command", "image"} <= used <= set(schema["properties"])
    (container,) = values["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (pool == "gpu")


def test_what_a_pod_mounts_reads_and_starts_in_is_there(template: tuple[str, dict[str, Any]]):
    _, values = template
    pod = values["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert ("PersistentVolumeClaim", volumes["state"]["persistentVolumeClaim"]["claimName"]) in objects()
    config = objects()["ConfigMap", volumes["dvc"]["configMap"]["name"]]["data"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    environment = values["variables"]["properties"]["env"]["default"]
    assert environment["DVC_SYSTEM_CONFIG_DIR"] == mounted["dvc"]
    assert environment["BESTIE_STATE"] == mounted["state"]
    assert "remote = storage" in config["config"]
    image = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert f"WORKDIR {environment['BESTIE_CLONE']}\n" in image
    assert f"BESTIE_STATE={environment['BESTIE_STATE']} " in image
    assert {each["secretRef"]["name"] for each in container["envFrom"]} <= created_secrets()


def test_workers_and_server_find_each_other():
    services = {name: each["spec"]["ports"][0]["port"] for (kind, name), each in objects().items() if kind == "Service"}
    for name in services:
        assert pod_of(name)["metadata"]["labels"] == objects()["Service", name]["spec"]["selector"]
    (server,) = pod_of("prefect")["spec"]["containers"]
    (database,) = [e["value"] for e in server["env"] if e["name"] == "PREFECT_API_DATABASE_CONNECTION_URL"]
    assert database.rpartition("@")[2] == "postgres/prefect"
    assert str(services["prefect"]) in server["args"]
    for pool in POOLS:
        pod = pod_of(f"worker-{pool}")["spec"]
        assert ("ServiceAccount", pod["serviceAccountName"]) in objects()
        (worker,) = pod["containers"]
        assert worker["args"] == ["prefect", "worker", "start", "--type", "kubernetes", "--pool", pool]
        urls = [each["value"] for each in worker["env"] if each["name"] == "PREFECT_API_URL"]
        assert urls == [f"http://prefect:{services['prefect']}/api"]


def test_every_secret_that_is_read_is_created_by_the_text():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY / "kubernetes").glob("*.yaml"))
    read = set(re.findall(r"secret(?:KeyRef|Ref): \{name: ([\w-]+)", text))
    assert read == created_secrets()


def test_the_image_leaves_out_what_git_ignores_and_takes_the_history():
    left_out = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").split()
    assert {".venv/", ".bestie/", "data/*"} <= set(left_out)
    assert not any(line.startswith(".git") for line in left_out)


def created_secrets() -> set[str]:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    return set(re.findall(r"create secret generic ([\w-]+)", text))


def test_the_readme_names_files_that_are_there():
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE)
    assert {Path(name) for name in named} | {Path("README.md"), Path("Containerfile.dockerignore")} == {
        path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
