"""The two towers: their losses, the whole catalogue ranked, who is new, and histories of any length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused
from polysense.tasks.ranking.heads.two_tower import BASELINES, Towers, TwoTowerHead, TwoTowerHeadConfig
from polysense.tasks.ranking.neighbors import item_neighbors
from polysense.tasks.ranking.record import RankingTarget
from polysense.tasks.ranking.truth import RankingTruth

NUM_ITEMS = 12


def head_of(**settings: object) -> TwoTowerHead:
    torch.manual_seed(0)
    target = RankingTarget(name="r", columns=("item", "user"), num_items=NUM_ITEMS, num_users=3, history=4)
    head = TwoTowerHead(TwoTowerHeadConfig(size=8, **settings), target, 16)  # type: ignore[arg-type]
    head.connect([])
    users, items = np.array([1, 1, 2, 2, 3, 3]), np.array([1, 2, 2, 3, 2, 4])
    counts = np.bincount(items, minlength=NUM_ITEMS + 1)
    neighbors, similarities = item_neighbors(users, items, NUM_ITEMS)
    head.fit_counts({
        "counts": counts, "recent_counts": counts, "neighbors": neighbors,
        "similarities": similarities, "users": users, "items": items,
    })  # fmt: skip
    return head.eval()


def context(prompts: list[list[int]], length: int = 8, candidates: Tensor | None = None) -> RowContext:
    values = torch.zeros(len(prompts), 1, length, dtype=torch.int32)
    for row, prompt in enumerate(prompts):
        values[row, 0, : len(prompt)] = torch.tensor(prompt)
    rows = torch.arange(len(prompts))
    given = ColumnBatch(values=values, lengths=torch.tensor([[len(prompt)] for prompt in prompts]))
    return RowContext(rows, rows, None, {"prompt": given}, candidates)


def nothing(rows: int) -> Fused:
    return Fused(torch.zeros(rows, 16), {})


def truth_of(items: list[int]) -> RankingTruth:
    number = torch.tensor(items)
    return RankingTruth(present=torch.ones(len(items), dtype=torch.bool), items=number, users=torch.ones_like(number))


def towers(rows: int) -> Towers:
    generator = torch.Generator().manual_seed(1)
    return Towers(
        torch.randn(rows, 9, generator=generator),
        torch.randn(rows, 9, generator=generator),
        -torch.rand(rows, generator=generator),
    )


def test_the_softmax_is_over_the_batchs_other_items_less_their_shares() -> None:
    items, output = [1, 2, 1, 3, 0], towers(5)
    rows = head_of().loss(output, truth_of(items))["loss"]
    for row in range(4):
        others = [j for j in range(4) if items[j] != items[row]]
        logits = torch.stack([output.users[row] @ output.items[j] - output.shares[j] for j in [row, *others]])
        assert rows.total[row] == pytest.approx(float(-F.log_softmax(logits, 0)[0]), abs=1e-5)
    assert rows.total[4] == rows.count[4] == 0, "an item that the catalogue lacks teaches nothing"


def test_bpr_is_the_mean_over_the_batchs_other_items() -> None:
    items, output = [1, 2, 1, 3], towers(4)
    rows = head_of(loss="bpr").loss(output, truth_of(items))["loss"]
    for row in range(4):
        own = output.users[row] @ output.items[row]
        each = [-F.logsigmoid(own - output.users[row] @ output.items[j]) for j in range(4) if items[j] != items[row]]
        assert rows.total[row] == pytest.approx(float(torch.stack(each).mean()), abs=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
@pytest.mark.parametrize("hard", [0, 2])
def test_a_batch_in_parts_is_the_batch(loss: str, hard: int) -> None:
    head, output, truth = head_of(loss=loss, hard_negatives=hard), towers(6), truth_of([1, 2, 1, 3, 4, 5])
    whole = head.loss(output, truth)["loss"].total
    parts = [head.loss(output, truth, own)["loss"].total for own in (slice(0, 2), slice(2, 6))]
    assert torch.equal(whole, torch.cat(parts))


def test_the_hardest_items_alone_count() -> None:
    output, truth = towers(6), truth_of([1, 2, 3, 4, 5, 6])
    hardest = head_of(loss="bpr", hard_negatives=1).loss(output, truth)["loss"].total
    scores = output.users @ output.items.T
    for row in range(6):
        worst = max(scores[row, j] for j in range(6) if j != row)
        assert hardest[row] == pytest.approx(float(F.softplus(worst - scores[row, row])), abs=1e-5)


def test_the_whole_catalogue_is_ranked_without_what_was_chosen() -> None:
    head = head_of(history_encoder="none")
    catalogue = torch.zeros(NUM_ITEMS, 9)
    catalogue[:, -1] = torch.arange(NUM_ITEMS)  # the item's bias: the last one is best
    given = context([[1, 12, 2], [0]], candidates=catalogue)
    prediction = head.predict(nothing(2), given)
    assert prediction["values"][0].tolist() == [11, 10, 9, 8, 7, 6, 5, 4, 3, 1, 0, 0], "two were chosen before"
    assert prediction["values"][1].tolist() == list(range(12, 0, -1))
    assert prediction["history"].tolist() == [2, 0]
    arrays = head.score(nothing(2), given, truth_of([9, 12]))
    assert arrays["rank"].tolist() == [3.0, 1.0]
    # Of items 1 to 4, which training holds, none is asked for: 9 is the third of those that nobody chose.
    assert arrays["rank_alike"].tolist() == [3.0, 1.0]
    again = head.score(nothing(1), context([[1, 12]], candidates=catalogue), truth_of([12]))
    assert again["rank"].tolist() == [1.0], "what is asked for is a candidate though it was chosen before"


def test_what_was_not_chosen_is_known_and_no_history() -> None:
    head = head_of()
    with_dislikes, without = ([1, -5, -6, 2, 3], [1, 2, 3])
    known = head._users(nothing(2), context([with_dislikes, without]))
    assert torch.equal(known[0], known[1])
    prediction = head.predict(nothing(1), context([with_dislikes]))
    assert not {5, 6, 2, 3} & set(prediction["values"][0].tolist())
    assert prediction["history"].tolist() == [2]
    assert set(prediction["because"][0].tolist()) <= {0, 2, 3}
    votes = head.score(nothing(2), context([with_dislikes, without]), truth_of([1, 1]))
    assert votes["item_knn_rank"][0] <= votes["item_knn_rank"][1], "what is known is no candidate, and votes for none"


def test_each_listed_item_has_the_nearest_one_of_the_history() -> None:
    catalogue = torch.zeros(NUM_ITEMS, 9)
    catalogue[:4, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    given = context([[1, 1, 2], [0]], candidates=catalogue)
    prediction = head_of(history_encoder="none").predict(nothing(2), given)
    because = dict(zip(prediction["values"][0].tolist(), prediction["because"][0].tolist(), strict=True))
    assert because[3] == 1
    assert because[4] == 2
    assert prediction["because"][1].tolist() == [0] * NUM_ITEMS, "nothing was chosen before"


def test_equal_scores_share_their_mean_rank_and_unknown_items_have_none() -> None:
    head = head_of(history_encoder="none")
    arrays = head.score(nothing(2), context([[0], [0]], candidates=torch.zeros(NUM_ITEMS, 9)), truth_of([4, 0]))
    assert arrays["rank"][0] == (1 + NUM_ITEMS) / 2
    assert arrays["rank"][1] == math.inf


def test_baselines_rank_by_what_was_chosen() -> None:
    head = head_of()
    arrays = head.score(nothing(1), context([[1, 1]]), truth_of([2]))
    assert arrays["popularity_rank"].tolist() == [1.0]
    assert arrays["item_knn_rank"].tolist() == [1.0], "whoever chose 1 chose 2 too"
    assert arrays["popularity_listed"][0, 0] == 2
    assert {f"{name}_rank" for name in BASELINES} <= arrays.keys()


def test_an_item_that_nobody_chose_has_no_embedding_of_its_own() -> None:
    head = head_of()
    points = head.candidates(nothing(2), context([[0], [0]]), truth_of([2, 9]))
    assert points[0].abs().sum() > 0
    assert points[1].abs().sum() == 0


def test_embeddings_are_hidden_in_training_by_the_rows_key_alone() -> None:
    head = head_of(id_dropout=0.5).train()
    truth = truth_of([2] * 64)
    points = head.read(nothing(64), context([[1, 2]] * 64), truth).items
    hidden = points[:, :-1].abs().sum(dim=1) == 0
    assert 16 < int(hidden.sum()) < 48
    half = head.read(nothing(32), context([[1, 2]] * 32), truth_of([2] * 32)).items
    assert torch.equal(half, points[:32])


@pytest.mark.parametrize("kind", ["mean", "gru", "attention"])
def test_a_history_is_read_alike_however_far_it_is_padded(kind: str) -> None:
    head = head_of(history_encoder=kind)
    short = head._users(nothing(2), context([[1, 2, 3], [0]], length=4))
    long = head._users(nothing(2), context([[1, 2, 3], [0]], length=16))
    torch.testing.assert_close(short, long)
    assert torch.isfinite(short).all()
    other = head._users(nothing(1), context([[1, 3, 2]], length=4))
    assert torch.allclose(other[0], short[0], atol=1e-6) == (kind == "mean"), "but for the mean the order tells"
    cut = head._users(nothing(1), context([[1, 4, 2, 3, 4, 2]], length=8))
    torch.testing.assert_close(cut, head._users(nothing(1), context([[1, 2, 3, 4, 2]], length=8)))
