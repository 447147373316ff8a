"""What pages show of generated images: files, and words about them."""

from __future__ import annotations

from polysense.core.metric import Statistics
from polysense.data.batches.dataset import TableDataset
from polysense.tasks.image_generation.pixels import encode_png, enlarged
from polysense.tasks.image_generation.record import ImageGenerationTarget

__all__ = ["generated_png", "true_png", "words_of"]


def true_png(target: ImageGenerationTarget, dataset: TableDataset, position: int) -> bytes | None:
    """The PNG file of a row's image, as it is learned from, for a page; None where it has none."""
    image = dataset[position].targets.get(target.name)
    return None if image is None else enlarged(encode_png(image))


def generated_png(statistics: Statistics, i: int) -> bytes:
    """The PNG file of the image that was generated for a row, for a page."""
    return enlarged(statistics["image"][i].tobytes())


def words_of(target: ImageGenerationTarget, statistics: Statistics, i: int) -> tuple[str, str, bool | None]:
    """What a row's image is to show, what the generated one does, and whether that is right; None where no class is
    known."""
    distance = f"{statistics['distance'][i]:.0f} levels from a training image"
    asked, shown = int(statistics["class"][i]), int(statistics["shown_class"][i])
    if asked < 0 or shown < 0:
        return "an image", distance, None
    return target.shown_classes[asked], f"{target.shown_classes[shown]}, {distance}", asked == shown
