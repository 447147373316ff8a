"""What `--over` says: values split where people mean it, products, and mistakes caught before anything is trained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.codec import from_dict, to_dict
from polysense.errors import ConfigError
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.recipe import Recipe
from polysense.workflows.comparison.sweep import folder_name, make_variants, parse_over


@pytest.fixture
def recipe() -> Recipe:
    plain = {
        "data": {"columns": {"x": "number", "a.b": "number"}, "targets": {"y": "classification"}},
        "model": {
            "encoders": {"x": "number_mlp", "a.b": "number_mlp"},
            "heads": {"y": "classification"},
            "fusion": {"type": "transformer", "num_layers": 3, "dropout": 0.25},
        },
    }
    return from_dict(Recipe, plain)


@pytest.mark.parametrize(
    ("option", "key", "values"),
    [
        ("model.fusion.type=concat,gated", "model.fusion.type", ["concat", "gated"]),
        ("a=1e-3, 2e-3", "a", ["1e-3", "2e-3"]),
        ("a={type: gated, dropout: 0.3},{type: concat}", "a", ["{type: gated, dropout: 0.3}", "{type: concat}"]),
        ('a={"t": [1, 2], "u": "x,y"},b', "a", ['{"t": [1, 2], "u": "x,y"}', "b"]),
        ("a='x,y',z", "a", ["'x,y'", "z"]),
        ("a=don't,won't", "a", ["don't", "won't"]),
        ("model.encoders[a.b].hidden=8,16", "model.encoders[a.b].hidden", ["8", "16"]),
        ("a[x=y].b=c=d,e", "a[x=y].b", ["c=d", "e"]),
        ("a=[1,2],[3,4]", "a", ["[1,2]", "[3,4]"]),
    ],
)
def test_values_are_split_outside_of_brackets_and_quotes(option: str, key: str, values: list[str]) -> None:
    assert parse_over([option]) == [(key, values)]


@given(st.lists(st.lists(st.integers(-99, 99)), min_size=1, max_size=5, unique_by=tuple))
def test_any_values_come_back(values: list[list[int]]) -> None:
    ((key, found),) = parse_over({"a.b": values})
    assert key == "a.b"
    assert parse_over([f"a.b={','.join(found)}"]) == [(key, found)]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ([], "nothing to compare"),
        (["model.fusion.type"], "expected KEY=VALUE,VALUE"),
        (["=a,b"], "expected KEY=VALUE,VALUE"),
        (["a=b,"], "a value is empty"),
        (["a="], "a value is empty"),
        (["a=b,c,b"], "names 'b' twice"),
        (["a=b,c", "a=d"], "names a twice"),
        (["a={b,c"], "'{' is never closed"),
        (["a=b},c"], "closes nothing"),
        (["a=[b},c"], "closes nothing"),
        (["a='b,c"], "is never closed"),
        (["training.seed=0,1"], "--seeds"),
        (["data.split.test=0.1,0.2"], "same rows"),
        (["data.targets.y.column=a,b"], "same targets"),
        (["evaluation.bootstrap=1,2"], "same way"),
    ],
)
def test_a_mistake_is_named(over: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_over(over)


def test_another_type_starts_afresh_and_the_same_one_keeps_its_settings(recipe: Recipe) -> None:
    variants = make_variants(recipe, parse_over(["model.fusion.type=concat,transformer"]))
    assert [variant.name for variant in variants] == ["concat", "transformer"]
    assert variants[0].recipe is not None
    assert variants[0].recipe.model.fusion == ConcatFusionConfig()
    assert variants[1].recipe == recipe


def test_a_whole_component_may_be_swapped(recipe: Recipe) -> None:
    variants = make_variants(recipe, parse_over(["model.fusion={type: gated, dropout: 0.3},concat"]))
    assert [v.recipe.model.fusion for v in variants if v.recipe] == [
        GatedFusionConfig(dropout=0.3),
        ConcatFusionConfig(),
    ]


def test_several_options_give_their_product(recipe: Recipe) -> None:
    over = parse_over(["model.fusion.type=concat,gated", "training.optimizer.lr=1e-3,2e-3,3e-3"])
    variants = make_variants(recipe, over)
    assert [variant.name for variant in variants][:4] == [
        "fusion=concat, lr=1e-3", "fusion=concat, lr=2e-3", "fusion=concat, lr=3e-3", "fusion=gated, lr=1e-3",
    ]  # fmt: skip
    last = variants[-1].recipe
    assert last is not None
    assert to_dict(last)["training"]["optimizer"]["lr"] == 3e-3
    assert last.model.fusion.type == "gated"


def test_keys_are_called_by_the_shortest_ending_that_tells_them_apart(recipe: Recipe) -> None:
    over = parse_over(["model.encoders.x.hidden=8,9", "model.encoders[a.b].hidden=8,9"])
    assert make_variants(recipe, over)[0].name == "x.hidden=8, [a.b].hidden=8"


def test_a_typing_error_stops_before_anything_is_trained(recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"'conct' gives no valid recipe.*did you mean 'concat'"):
        make_variants(recipe, parse_over(["model.fusion.type=gated,conct"]))
    with pytest.raises(ConfigError, match="no such key"):
        make_variants(recipe, parse_over(["model.fusion.width=1,2"]))


def test_a_combination_that_makes_no_sense_is_a_line_that_failed(recipe: Recipe) -> None:
    over = parse_over(["model.fusion.type=transformer,concat", "model.fusion.num_layers=1,2"])
    with pytest.raises(ConfigError, match="'concat' gives no valid recipe"):
        make_variants(recipe, over)  # concat has no layers in any combination: a mistake
    # 15 rows can't be split into 2 micro-batches; each value makes sense with another one.
    variants = make_variants(recipe, parse_over(["training.batch_size=15,16", "training.accumulate=1,2"]))
    assert [variant.recipe is not None for variant in variants] == [True, False, True, True]
    assert "can't be split" in variants[1].failure


def test_folders_differ_whatever_the_names_are() -> None:
    taken: list[str] = []
    for name in ("{type: a}", "[type: a]", "TYPE_a", "", "..", "x" * 200, "x" * 201, "../../etc"):
        taken.append(folder_name(name, taken))
    assert len({name.lower() for name in taken}) == len(taken)
    assert all(name and "/" not in name and name.strip(".") and len(name) < 70 for name in taken)
