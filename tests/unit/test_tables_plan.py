"""The paper's tables as parameters: every row is valid for every profile, and equal rows are one run."""

from pathlib import Path

import pytest
import yaml

from bestie.artifacts.paths import OWN_MAPS
from bestie.errors import InputError
from bestie.params.params_yaml import Params
from bestie.project.profiles import compose, profile_names
from bestie.tables.definition import DEFINITION, Definition, read_definition, with_wsss
from bestie.tables.missing import check_inputs
from bestie.tables.plan import TRUE_MAPS, Plan, make_plan
from tests import workspace as ws

PROFILES = ws.ROOT / "profiles"


def plan_of(*keys: str, profile: str = "smoke", seeds: tuple[int, ...] = (0,), **options) -> Plan:
    return make_plan(read_definition(keys=keys), profile, folder=PROFILES, seeds=seeds, **options)


@pytest.mark.parametrize("profile", profile_names(PROFILES))
def test_every_row_is_valid_for_every_profile(profile: str):
    plan = plan_of(profile=profile, seeds=(0, 1))
    assert len(plan.runs) >= 40
    for run in plan.runs:
        params = Params.model_validate(run.params)
        assert params.train_pam.seed == params.train_bestie.seed == params.train_mrcnn.seed == run.seed


def test_the_rows_of_table_3_switch_on_one_part_after_the_other():
    plan = plan_of("table3")
    parts = []
    for number in range(5):
        (run,) = plan.runs_of["table3", number]
        network = run.params["train_bestie"]
        parts.append(
            (
                run.params["train_pam"]["attention_layers"],
                network["instance_aware_guidance"],
                network["refinement"]["enabled"],
                network["refinement"]["cluster"],
            )
        )
    assert parts[0][:3] == ([], False, False)
    assert parts[1][:3] == ([6], False, False)
    assert parts[2][:3] == ([6], True, False)
    assert parts[3:] == [([6], True, True, False), ([6], True, True, True)]


def test_the_whole_method_of_the_paper_is_the_profile_itself():
    (run,) = plan_of("table3", profile="voc2012").runs_of["table3", 4]
    assert run.params == compose("voc2012", folder=PROFILES)


def test_the_paper_has_its_numbers():
    tables = read_definition().tables
    column = {key: [row.paper.get("map50") for row in table.rows] for key, table in tables.items()}
    assert column["table3"] == [12.9, 29.3, 39.2, 41.5, 41.8]
    assert column["table4"] == [39.7, 41.1, 41.8, 49.4, None]
    assert column["table5"] == [41.8, 41.9, 41.9]
    assert column["table6"] == [29.3, 39.2, 41.8, 27.8]
    assert column["table7"] == [41.76, 41.80, 41.72]
    assert column["table8"] == [34.7, 41.8, 39.5, 34.8, 40.0, 37.6, 39.6, 38.4]


def test_rows_with_the_same_parameters_are_one_run():
    plan = plan_of("table3", "table5", "table6", "figure7")
    whole = {plan.runs_of[place][0].identity for place in (("table3", 4), ("table5", 0), ("table6", 2), ("figure7", 0))}
    assert len(whole) == 1
    assert len(plan.runs) == 5 + 2 + 1
    assert len({run.identity for run in plan.runs}) == len(plan.runs)


def test_a_seed_comes_to_its_end_before_the_next_begins():
    plan = plan_of("table3", seeds=(3, 1, 3))
    assert [run.seed for run in plan.runs] == [3] * 5 + [1] * 5
    assert plan.seeds == (3, 1)


def test_true_maps_and_iterations_are_part_of_a_run():
    plan = plan_of("table4", "table5")
    (true_maps,) = plan.runs_of["table4", 3]
    assert (true_maps.true_maps, true_maps.params["import_wsss"]["source"]) == (True, TRUE_MAPS)
    assert [plan.runs_of["table5", number][0].iterations for number in range(3)] == [0, 1, 2]


def test_maps_of_other_methods_are_drawn_or_asked_for():
    assert ("table4", 0) in plan_of("table4", profile="shapes").runs_of
    assert ("table4", 0) not in plan_of("table4", profile="voc_subset").runs_of
    named = with_wsss(read_definition(keys=["table4"]), {"rrm": "data/raw/rrm", "Mine": "data/raw/mine"})
    plan = make_plan(named, "voc_subset", folder=PROFILES, seeds=[0])
    assert plan.runs_of["table4", 1][0].params["import_wsss"]["source"] == "data/raw/rrm"
    assert plan.runs_of["table4", 4][0].params["import_wsss"]["source"] == str(OWN_MAPS)
    assert plan.runs_of["table4", 5][0].params["import_wsss"]["source"] == "data/raw/mine"
    assert named.tables["table4"].rows[5].cells == ("Mine", "")


def test_overrides_hold_under_every_row_but_not_over_it():
    plan = plan_of("table7", overrides=["train_pam.alpha=0.6", "train_bestie.epochs=3"])
    assert [plan.runs_of["table7", k][0].params["train_pam"]["alpha"] for k in range(3)] == [0.3, 0.5, 0.7]
    assert {run.params["train_bestie"]["epochs"] for run in plan.runs} == {3}


def test_every_missing_folder_is_named_but_not_the_maps_that_a_run_writes(tmp_path: Path):
    options = [f"dataset.root={tmp_path}", "train_pam.backbone.weights=random", f"import_wsss.source={tmp_path}"]
    check_inputs(plan_of("table4", profile="voc_subset", overrides=options), with_mrcnn=True)
    options += [f"dataset.root={tmp_path}/a", f"import_wsss.source={tmp_path}/b", "train_mrcnn.backbone.weights=c"]
    plan = plan_of("table4", profile="voc_subset", seeds=(0, 1), overrides=options)
    with pytest.raises(InputError) as error:
        check_inputs(plan, with_mrcnn=False)
    assert str(error.value) == (
        f"dataset.root: there is no folder {tmp_path}/a yet; import_wsss.source: there is no folder {tmp_path}/b yet; "
        "put it there, or name another with --set KEY=PATH"
    )
    with pytest.raises(InputError, match=r"train_mrcnn.backbone.weights: there is no file c yet"):
        check_inputs(plan, with_mrcnn=True)


@pytest.mark.parametrize("override", ["train_bestie.seed=5", "train_pam={seed: 5}"])
def test_an_override_of_a_seed_is_refused_since_the_seeds_would_replace_it(override: str):
    with pytest.raises(InputError, match=r"--set .*: the trainings have the seeds of --seed; use --seed 5"):
        plan_of("figure7", overrides=[override])
    assert plan_of("figure7", overrides=["prepare.shapes.seed=5"]).runs[0].params["prepare"]["shapes"]["seed"] == 5


def definition_with(tmp_path: Path, row: dict) -> Path:
    path = tmp_path / "tables.yaml"
    table = {"title": "Mine", "columns": ["what"], "rows": [row]}
    path.write_text(yaml.safe_dump({"tables": {"mine": table}}), encoding="utf-8")
    return path


def test_a_row_of_ones_own_is_read_and_a_wrong_key_named(tmp_path: Path):
    good = definition_with(tmp_path, {"cells": ["wide"], "set": {"train_bestie.width": 8}})
    (run,) = make_plan(read_definition(good), "smoke", folder=PROFILES, seeds=[0]).runs
    assert run.params["train_bestie"]["width"] == 8
    wrong = definition_with(tmp_path, {"cells": ["wide"], "set": {"train_bestie.widht": 8}})
    with pytest.raises(InputError, match=r"mine \[wide\].*'train_bestie.widht'"):
        make_plan(read_definition(wrong), "smoke", folder=PROFILES, seeds=[0])


def test_a_definition_sets_no_seed_of_a_training(tmp_path: Path):
    row = definition_with(tmp_path, {"cells": ["wide"], "set": {"train_bestie.seed": 5}})
    with pytest.raises(InputError, match=r"^mine \[wide\]: train_bestie.seed=5: .* use --seed 5$"):
        make_plan(read_definition(row), "smoke", folder=PROFILES, seeds=[0])
    text = definition_with(tmp_path, {"cells": ["wide"]}).read_text(encoding="utf-8")
    row.write_text(text + "base: {train_pam.seed: 5}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^base: train_pam.seed=5: .* use --seed 5$"):
        make_plan(read_definition(row), "smoke", folder=PROFILES, seeds=[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"cells": ["a", "b"]}, "one cell for each"),
        ({"cells": ["a"], "paper": {"map51": 3}}, "is no score"),
        ({"cells": ["a"], "sett": {}}, "unknown key 'tables.mine.rows.0.sett'"),
    ],
)
def test_a_wrong_definition_is_refused(tmp_path: Path, row: dict, message: str):
    with pytest.raises(InputError, match=message):
        read_definition(definition_with(tmp_path, row))


def test_an_unknown_table_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match="has no table 'table9'; choose from table3, table4"):
        read_definition(keys=["table9"])


def test_the_file_holds_nothing_else():
    assert isinstance(read_definition(DEFINITION), Definition)
