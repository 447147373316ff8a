"""Image generation: an image for each row, from any of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.geometry import Placement
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.random import generator
from polysense.core.row_spec import RowSpec
from polysense.core.task_spec import Answer, Arrays, BatchRows, Contribution, Explained, Measure, TaskPreset
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.tasks.image_generation.metrics import ImageScorer, image_metrics
from polysense.tasks.image_generation.pixels import encode_png, thumbnail
from polysense.tasks.image_generation.reader import ImageReader
from polysense.tasks.image_generation.record import ImageGenerationTarget

__all__ = ["SPEC", "ImageGenerationSpec"]

_CHANNELS = 3  # of the network's finest maps, times those of an image encoder's first stage
_BASELINE = "noise_"


class _Contribution(Contribution[ImageGenerationTarget]):
    """Minus the velocity's error, which every row has, and which costs no generation.

    Without any column the prediction is the model's own from an empty row, because it holds what the model knows of all
    images.
    """

    measures = (Measure("flow_loss", "flow loss"),)
    is_prior_without_columns = False

    def row_values(self, target: ImageGenerationTarget, statistics: Statistics) -> np.ndarray:
        return -statistics["flow_loss"][:, None]


class _Explained(Explained[ImageGenerationTarget]):
    """How well the velocity from the generated image to noise is known, with its own columns and with others.

    The image stays the same while columns and parts of cells are masked; a generated one would change.
    """

    scores_answer = True

    def cell(
        self, target: ImageGenerationTarget, prediction: Arrays, choice: int, placements: Mapping[str, Placement]
    ) -> np.ndarray:
        image: np.ndarray = prediction["values"][0]
        return image

    def choices(self, target: ImageGenerationTarget) -> Sequence[str]:
        return ("generated image",)

    def chosen(self, target: ImageGenerationTarget, prediction: Arrays) -> int:
        return 0

    def numbers(self, target: ImageGenerationTarget, prediction: Arrays, choice: int) -> np.ndarray:
        if "flow_loss" not in prediction:
            raise ConfigError(f"{target.name}: can't be explained: its head does not say how well it knows an image")
        return -prediction["flow_loss"][:, 0].astype(np.float64)

    def title(self, target: ImageGenerationTarget, choice: int) -> str:
        return "minus the flow loss of the generated image"

    def answers(self, target: ImageGenerationTarget, prediction: Arrays, choice: int) -> Sequence[str] | None:
        return None  # an image changes by degrees


class ImageGenerationSpec(RowSpec[ImageGenerationTarget]):
    """Images.

    Its row statistics: `flow_loss`, and that of the noise baseline. Where images were generated, of each the PNG file
    (`image`, bytes as uint8), `features` and those of the true image, `distance` to the nearest training image
    (`nearest`) and that of the true one, the `class` that it is to show, and those that it and the true one show (-1:
    none is known). Likewise for the baseline, after `noise_`.
    """

    name = "image_generation"
    record = ImageGenerationTarget
    rank = 57
    generates = True
    decode = "polysense.tasks.image_generation.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.image_generation.infer:claim"
    explained = _Explained()
    prior = Unsupported("what it generates from nothing is drawn from all that it knows of the images")
    proper_score = "flow_loss"
    contribution = _Contribution()
    average = Unsupported("several images have no mean that is an image")
    align = Unsupported("a row's image is the same however its cells are augmented")
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.image_generation.report_section:report_sections"
    sample_outputs = "polysense.tasks.image_generation.sample_output:sample_outputs"
    class_probabilities = Unsupported("it predicts images, and no probabilities of classes")
    conformal = Unsupported("no set of images holds the true one with a stated probability")
    numbers = Unsupported("it predicts images, and no numbers")
    mistakes = "polysense.tasks.image_generation.mistakes:mistakes"
    editor = Unsupported("no page can enter an image; name the files in the table")

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A U-Net with more channels the larger the model is."""
        head = {"type": "rectified_flow", "channels": _CHANNELS * size.channels}
        return TaskPreset(target={"type": self.name}, head=head)

    def nothing(self, target: ImageGenerationTarget, num_rows: int) -> np.ndarray:
        return np.zeros((num_rows, *target.shape), dtype=np.uint8)

    def row_statistics(
        self, target: ImageGenerationTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        (output,) = outputs
        results: dict[str, np.ndarray] = {"present": truth["present"]}
        if "flow_loss" in output:
            losses = output["flow_loss"].astype(np.float64)
            results |= {"flow_loss": losses[:, 0], f"{_BASELINE}flow_loss": losses[:, 1]}
        if "values" not in output or not isinstance(rows.reader, ImageReader):
            return results
        results["class"] = rows.reader.shown_classes(rows.numbers)
        noise = np.stack([_noise(target, int(row)) for row in rows.numbers]) if len(rows.numbers) else output["values"]
        each = {"": output["values"], "true_": truth["values"], _BASELINE: noise}
        for prefix, images in each.items():
            results |= {f"{prefix}{name}": values for name, values in _described(images, rows.reader).items()}
        results["image"] = np.empty(len(results["present"]), dtype=object)
        for i, image in enumerate(output["values"]):
            results["image"][i] = np.frombuffer(encode_png(image), dtype=np.uint8)
        return results

    def metrics(self, target: ImageGenerationTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """Selected by the flow loss, which needs nothing generated; the headline is what people ask for first."""
        metrics = image_metrics(target)
        return marked(
            metrics,
            headline="shown_accuracy" if target.shown_classes else "skill",
            selection="flow_loss",
            finer="kid",
            reported=[metric.name for metric in metrics],
        )

    def scorer(self, target: ImageGenerationTarget, statistics: Statistics) -> Scorer:
        return ImageScorer(target, statistics)

    def baselines(self, target: ImageGenerationTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """Noise of the training images' mean color and contrast, and the best velocity for images that are such."""

        def noise(statistics: Statistics) -> Statistics:
            rest = {name: values for name, values in statistics.items() if name not in ("image", "nearest")}
            own = {name.removeprefix(_BASELINE): v for name, v in rest.items() if name.startswith(_BASELINE)}
            return {**rest, **own}

        return {"noise baseline": noise}

    def row_score(self, target: ImageGenerationTarget, statistics: Statistics) -> RowScore:
        """How well the velocity from the true image to noise is known."""
        values = statistics.get("flow_loss", np.full(len(statistics["present"]), np.nan))
        return RowScore(
            name="flow loss", higher_is_better=False, values=np.where(statistics["present"], values, np.nan)
        )


def _described(images: np.ndarray, reader: ImageReader) -> dict[str, np.ndarray]:
    """What images, uint8 [rows, channels, height, width], are compared by."""
    num = len(images)
    features = reader.features(images) if num else np.zeros((0, len(reader.training.weights) - 1), dtype=np.float32)
    small = np.stack([thumbnail(image) for image in images]) if num else reader.training.thumbnails[:0]
    nearest, distance = reader.training.nearest(small)
    return {
        "features": features.astype(np.float16),
        "nearest": nearest,
        "distance": distance,
        "shown_class": reader.training.classes_of(features),
    }


def _noise(target: ImageGenerationTarget, row: int) -> np.ndarray:
    """An image of independent pixels, a function of the row's number."""
    drawn = generator("noise baseline", row).standard_normal(target.shape)
    mean, std = (np.array(values)[:, None, None] for values in (target.mean, target.std))
    pixels: np.ndarray = np.clip(np.rint(255 * (drawn * std + mean)), 0, 255).astype(np.uint8)
    return pixels


SPEC = ImageGenerationSpec()
