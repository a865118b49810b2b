"""Print the base job template of a Kubernetes work pool: Prefect's own, with volumes, secrets and GPUs.

`python deploy/kubernetes/job_template.py gpu bestie:latest > gpu.json`, and then
`prefect work-pool create gpu --type kubernetes --base-job-template gpu.json`.
"""

import asyncio
import json
import sys
from typing import Any

from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

NAMESPACE = "bestie"
#: What a pod may take. `SHARED_MEMORY` is the size of /dev/shm, through which loaders of images pass batches.
RESOURCES = {
    "cpu": {"cpu": "2", "memory": "8Gi"},
    "gpu": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"},
}
SHARED_MEMORY = "8Gi"
ENVIRONMENT = {
    "BESTIE_CLONE": "/bestie",
    "BESTIE_STATE": "/state",
    "BESTIE_GPU_LIMIT": "gpu-cluster",
    "DVC_SYSTEM_CONFIG_DIR": "/etc/bestie/dvc",
}


def job_template(pool: str, image: str) -> dict[str, Any]:
    """Return the base job template of a pool.

    Args:
        pool: `cpu` or `gpu`.
        image: the image that its pods run, built from `deploy/Containerfile`.
    """
    template = asyncio.run(get_default_base_job_template_for_infrastructure_type("kubernetes"))
    assert template is not None
    variables = template["variables"]["properties"]
    variables["image"]["default"] = image
    variables["namespace"]["default"] = NAMESPACE
    variables["env"]["default"] = ENVIRONMENT
    variables["finished_job_ttl"]["default"] = 86_400
    # A new node may have to start and fetch an image of gigabytes, for which Prefect's one minute is too short.
    variables["pod_watch_timeout_seconds"]["default"] = 1800
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["securityContext"] = {"runAsUser": 1000, "fsGroup": 1000}
    pod["volumes"] = [
        {"name": "state", "persistentVolumeClaim": {"claimName": "bestie-state"}},
        {"name": "dvc", "configMap": {"name": "bestie-dvc"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
    ]
    (container,) = pod["containers"]
    container["envFrom"] = [{"secretRef": {"name": "bestie"}}]
    container["resources"] = {"requests": RESOURCES[pool], "limits": RESOURCES[pool]}
    container["volumeMounts"] = [
        {"name": "state", "mountPath": "/state"},
        {"name": "dvc", "mountPath": "/etc/bestie/dvc", "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    return template


def main() -> None:
    """Print the template for the pool and the image that the command line names."""
    if len(sys.argv) != 3 or sys.argv[1] not in RESOURCES:
        raise SystemExit(f"usage: {sys.argv[0]} {'|'.join(RESOURCES)} IMAGE")
    print(json.dumps(job_template(sys.argv[1], sys.argv[2]), indent=2))


if __name__ == "__main__":
    main()
