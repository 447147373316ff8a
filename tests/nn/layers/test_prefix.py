"""Prefixes: pieces gathered in each row's own order, against the same done with lists."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.nn.layers.prefix import MOST_ITEMS, assemble, order_with_placeholders

FIRST = 50

rows = st.lists(
    st.tuples(
        st.lists(st.sampled_from([3, 4, 5, FIRST, FIRST + 1]), max_size=7),  # the prompt
        st.tuples(*[st.booleans()] * 4),  # which items of media are there
    ),
    min_size=1,
    max_size=4,
)
# Two tokens for each item: two items of column 0, one of column 1, one of a column without a placeholder.
GROUPS = [0, 0, 1, 1, MOST_ITEMS, MOST_ITEMS, -MOST_ITEMS, -MOST_ITEMS]


def expected(prompt: list[int], there: tuple[bool, ...]) -> list[int]:
    """With lists: media tokens are named -1 to -8, in front or at the n-th placeholder of their column."""
    media = {item: [-1 - 2 * item, -2 - 2 * item] for item in range(4) if there[item]}
    seen, placed = {0: 0, 1: 0}, []
    for token in prompt:
        column = token - FIRST
        if column not in seen:
            placed.append(token)
            continue
        number = seen[column]
        seen[column] += 1
        item = {(0, 0): 0, (0, 1): 1, (1, 0): 2}.get((column, number), -1)
        placed += media.pop(item, [])
    return [token for tokens in media.values() for token in tokens] + placed


@settings(max_examples=150)
@given(rows=rows)
def test_every_row_is_put_together_as_if_it_were_alone(rows: list[tuple[list[int], tuple[bool, ...]]]) -> None:
    length = max(len(prompt) for prompt, _ in rows)
    padded = [prompt + [0] * (length - len(prompt)) for prompt, _ in rows]
    ids = torch.tensor(padded, dtype=torch.int64).reshape(len(rows), length)
    mask = torch.arange(length) < torch.tensor([[len(prompt)] for prompt, _ in rows])
    present = torch.tensor([there for _, there in rows]).repeat_interleave(2, dim=1)
    groups = torch.tensor(GROUPS).expand(len(rows), -1)
    media_keys, keys, retained = order_with_placeholders(ids, mask, groups, present, FIRST)
    names = torch.cat([torch.arange(-1, -9, -1).expand(len(rows), -1), ids], dim=1)
    prefix = assemble(
        names[:, :, None].float(), torch.cat([present, retained], dim=1), torch.cat([media_keys, keys], dim=1)
    )
    for row, (prompt, there) in enumerate(rows):
        found = prefix.values[row, prefix.mask[row], 0].tolist()
        assert found == expected(prompt, there)
        assert prefix.mask[row].tolist() == sorted(prefix.mask[row].tolist()), "padding is at the left"
        for place, name in zip(prefix.slots[row].tolist(), names[row].tolist(), strict=True):
            assert not prefix.mask[row, place] or prefix.values[row, place, 0] == name
    assert (prefix.values[~prefix.mask] == 0).all()


def test_what_is_not_there_may_hold_anything() -> None:
    values = torch.tensor([[[1.0], [float("nan")], [2.0]]])
    prefix = assemble(values, torch.tensor([[True, False, True]]), torch.tensor([[5, 0, 1]]))
    assert prefix.values.flatten().tolist() == [0, 2, 1]
