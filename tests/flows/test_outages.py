"""Four workers in clones of their own share four stages, while one after the other of what they rely on is away.

They meet at a server with PostgreSQL and at an S3 bucket. A worker is killed, a second one is paused for five minutes,
the server is restarted, and the bucket is away for a minute. What comes out has the bytes of `dvc repro` in one clone,
and no part is computed twice but those that were lost.
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from bestie.datasets.shapes import SHAPE_CLASS_NAMES, generate_shapes
from flows.lock_entries import read_lock_entries
from tests import workspace as ws
from tests.clones import Clone, make_clone
from tests.flows.cluster import SLOW_S, Cluster, Worker, at_work_in, commit_without
from tests.flows.object_store import ObjectStore
from tests.flows.prefect_server import Server, eventually

pytestmark = [
    pytest.mark.slow,  # 64 parts, each a run that imports Prefect, DVC and torch anew, and a pause of five minutes
    pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL on this machine (`initdb`)"),
]

PARTS, CLONES = 16, 4
SPREAD = ("extract_cues", "make_pseudo_labels", "export_mrcnn", "evaluate")
#: 64 images of a part for each stage, and models that are trained as briefly as they can be.
IMAGES = 64 * PARTS
SIZE = (
    "dataset.format=voc",
    f"prepare.categories=[{', '.join(SHAPE_CLASS_NAMES)}]",
    *(f"{stage}.epochs=1" for stage in ("train_pam", "train_wsss", "train_bestie", "train_mrcnn")),
    "train_pam.plain_epochs=0",
    "train_bestie.evolution_every=1",
    "export_mrcnn.flip=false",
    "evaluate.flip=false",
)
PAUSE_S, AWAY_S = 300.0, 60.0
#: All slots of the pool `gpu`, whose workers have no GPU here.
LIMIT = "four-clones"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` ran alone, and whose commit does not know of the stages to spread.

    The images lie in a folder that all clones see: as outputs of DVC they would be most of what is sent.
    """
    place = tmp_path_factory.mktemp("alone")
    images = place / "images"
    generate_shapes(images, seed=0, num_train=IMAGES, num_val=IMAGES, min_side_px=72, max_side_px=80, max_objects=3)
    clone = make_clone(place / "clone")
    with chdir(clone.folder):
        ws.set_params(*SIZE, f"dataset.root={images}", f"import_wsss.source={images / 'WSSS_maps'}")
    clone.environment["OMP_NUM_THREADS"] = "1"
    clone.dvc("repro")
    commit_without(clone, SPREAD)
    return clone


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    made = ObjectStore()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def cluster(protected: Server, store: ObjectStore, alone: Clone, tmp_path: Path) -> Iterator[Cluster]:
    """An origin, and a bucket that has the outputs of all stages but those to spread."""
    made = Cluster(tmp_path, alone, protected)
    store.add_to(alone)
    store.create_bucket(alone)
    alone.dvc("push", "--quiet", *(name for name in ws.STAGES if name not in SPREAD))
    with protected.client() as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, CLONES)
    yield made
    made.end()


class Workers:
    """A worker of each pool in each of four clones, as on four hosts: they share no lock of a device."""

    def __init__(self, cluster: Cluster, store: ObjectStore) -> None:
        self._cluster = cluster
        self.clones = [cluster.clone(f"clone-{number}") for number in range(CLONES)]
        for clone in self.clones:
            store.add_to(clone)
        cluster.deploy(self.clones[0])
        self.of_pool = {pool: [self.start(clone, pool) for clone in self.clones] for pool in ("cpu", "gpu")}

    def start(self, clone: Clone, pool: str) -> Worker:
        own = self._cluster.folder / f"tmp-{clone.folder.name}"
        own.mkdir(exist_ok=True)
        return self._cluster.worker(clone, pool, TMPDIR=str(own), BESTIE_GPU_LIMIT=LIMIT)

    def computed(self) -> Counter[str]:
        """How often each part was computed, as ("part 1 of 16 of extract_cues", 1)."""
        return Counter(re.findall(r"'(part \d+ of \d+ of \w+) of [^']*' - \w+: done in ", self.logs()))

    def logs(self) -> str:
        """What all workers have logged."""
        return "\n".join(log.read_text(encoding="utf-8") for log in self._cluster.folder.glob("worker-*.log"))

    def that_computes(self, pool: str) -> Worker:
        """A worker in whose clone a part is computed now."""

        def look() -> Worker | None:
            found = [each for each in self.of_pool[pool] if computes(each.clone)]
            return found[0] if found else None

        worker = eventually(look, within_s=SLOW_S, every_s=0.1)
        assert worker is not None
        return worker


def computes(clone: Clone) -> bool:
    return any("-m stages." in " ".join(process.cmdline()) for process in at_work_in(clone))


def completed(cluster: Cluster, run: FlowRun, stage: str) -> int:
    """How many parts of a stage are computed."""
    return sum(
        what.endswith(stage) and state == "Completed" for what, state in cluster.states_of_runs(run) if "part" in what
    )


def test_four_workers_finish_whatever_is_away_and_nothing_is_computed_twice_but_what_was_lost(
    cluster: Cluster, store: ObjectStore, alone: Clone
):
    workers = Workers(cluster, store)
    started = time.monotonic()
    run = run_deployment("pipeline/pipeline", parameters={"spread": dict.fromkeys(SPREAD, PARTS)}, timeout=0)
    assert isinstance(run, FlowRun)

    def has_computed(stage: str, count: int) -> bool:
        ended = cluster.server.flow_run(run.id).state
        assert ended is None or not ended.is_final(), ended
        return completed(cluster, run, stage) >= count

    with ThreadPoolExecutor() as pool:
        eventually(partial(has_computed, "extract_cues", 3), within_s=SLOW_S)
        lost = workers.that_computes("gpu")
        lost.kill()
        workers.of_pool["gpu"].remove(lost)
        eventually(lambda: at_work_in(lost.clone) == [])
        workers.of_pool["gpu"].append(workers.start(lost.clone, "gpu"))

        eventually(partial(has_computed, "make_pseudo_labels", 2), within_s=SLOW_S)
        # The first clone's worker also runs the pipeline.
        asleep = next(each for each in workers.of_pool["cpu"] if not runs_the_pipeline(each))
        pause = pool.submit(keep_paused, asleep, workers)

        eventually(partial(has_computed, "make_pseudo_labels", 8), within_s=2 * SLOW_S)
        cluster.server.stop()
        time.sleep(20)
        cluster.server.start()

        eventually(partial(has_computed, "export_mrcnn", 3), within_s=2 * SLOW_S)
        workers.that_computes("gpu")  # and sends its part soon
        store.stop()
        time.sleep(AWAY_S)
        store.start()
        pause.result()

    ended = cluster.wait(run, within_s=4 * SLOW_S)
    print(f"{time.monotonic() - started:.0f} s")

    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    by_part = Counter((what, state) for what, state in cluster.states_of_runs(run) if what.startswith("part "))
    for stage in SPREAD:
        for number in range(1, PARTS + 1):
            assert by_part[f"part {number} of {PARTS} of {stage}", "Completed"] == 1
    # Besides the worker that was killed and the one that was paused, runs crash that began while the server was away.
    others = {what for what, state in by_part if state != "Completed"}
    computed = workers.computed()
    assert set(computed) == {what for what, _ in by_part}
    assert {what for what, count in computed.items() if count > 1} <= others
    assert sum(computed.values()) <= len(SPREAD) * PARTS + 2
    assert "The next attempt is in" in workers.logs()
    result = cluster.clone("result")
    store.add_to(result)
    lock = next(
        each.folder / "dvc.lock"
        for each in workers.clones
        if set(SPREAD) <= set(read_lock_entries(each.folder / "dvc.lock"))
    )
    (result.folder / "dvc.lock").write_bytes(lock.read_bytes())
    result.dvc("pull", "--quiet", *SPREAD)
    for stage in SPREAD:
        assert digests(result, stage) == digests(alone, stage), stage


def digests(clone: Clone, stage: str) -> dict[str, str]:
    with chdir(clone.folder):
        return ws.stage_digests(stage)


def runs_the_pipeline(worker: Worker) -> bool:
    return bool(re.search("pipeline", worker.log.read_text(encoding="utf-8")))


def keep_paused(worker: Worker, workers: Workers) -> None:
    """Pause all that runs in a worker's clone, the worker of the other pool as well."""
    other = next(each for each in workers.of_pool["gpu"] if each.clone is worker.clone)
    eventually(lambda: computes(worker.clone), within_s=SLOW_S, every_s=0.1)
    with worker.paused(), other.paused():
        time.sleep(PAUSE_S)
