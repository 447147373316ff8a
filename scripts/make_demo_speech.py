"""Makes the demo's assets: spoken digits, synthesized with espeak-ng, and the handwritten ones of scikit-learn.

The idea: one voice is one espeak-ng variant (its formants, breath and timbre) with one accent of English, one speed and
one pitch, and no variant serves two voices, so that a voice held out for the test is a throat that training never
heard. Every voice says every digit twice, at slightly different speeds and pitches.

The trade-off: 8 kHz, 8 bits, FLAC. Opus would take half of the bytes, but its decoders may differ in the last bit,
and the demo promises the same table everywhere; FLAC is exact. Noise of 8 bits lies about 40 dB below the speech, the
demo adds its own at around 0 dB.

Needs espeak-ng (1.51 made the committed files) and scikit-learn; run it again and the files come out the same:

    python scripts/make_demo_speech.py [--out src/polysense/data/demo]
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr

from polysense.core import random

SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAKES = 2
ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-029",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-us-nyc",
)
# Left out of espeak-ng's own: those with sound effects or beyond what a listener can follow (Demonic, announcer,
# UniRobot, anikaRobot, AnxiousAndy), a reading speed rather than a voice (fast), a name with a space (Mr serious), and
# a few of the many near-copies (robosoft3, iven4 and the like), which would cost bytes and bring no new voice.
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 croak whisper whisperf klatt klatt2 klatt3 klatt4 klatt5 Alex Alicia "
    "Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen RicishayMax Storm "
    "Tweaky adam anika antonio aunty belinda benjamin boris caleb david ed edward grandma grandpa gustave iven iven2 "
    "john kaukovalta linda marcelo max michel miguel pablo paul pedro quincy rob robert robosoft robosoft2 robosoft4 "
    "robosoft6 sandro shelby steph steph2 travis victor zac"
)


def synthesize(voice: str, word: str, speed: int, pitch: int) -> np.ndarray:
    """Says one word.

    Args:
        voice: espeak-ng's name, accent+variant.
        word: What to say.
        speed: Words per minute.
        pitch: 0-99.

    Returns:
        int8 [samples] at SAMPLE_RATE, trimmed to the speech, peak 127.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    wave, rate = soundfile.read(io.BytesIO(wav), dtype="float64")
    wave = soxr.resample(wave, rate, SAMPLE_RATE)
    wave -= wave.mean()
    wave /= np.abs(wave).max()
    # Speech is where 10 ms of it lie above -36 dB of the peak; 20 ms are kept on either side for soft consonants.
    frame = SAMPLE_RATE // 100
    loud = np.flatnonzero(np.abs(wave[: len(wave) // frame * frame]).reshape(-1, frame).max(axis=1) > 10 ** (-36 / 20))
    wave = wave[max(loud[0] - 2, 0) * frame : (loud[-1] + 3) * frame]
    fade = np.linspace(0.0, 1.0, frame)
    wave[:frame] *= fade
    wave[-frame:] *= fade[::-1]
    result: np.ndarray = np.rint(wave * (127 / np.abs(wave).max())).astype(np.int8)
    return result


def make_speech(out: Path) -> None:
    """Writes speech.flac (all recordings on end) and speech.json (where each begins, who says what)."""
    version = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, encoding="utf-8").stdout
    voices, clips, waves, start = [], [], [], 0
    for index, variant in enumerate(VARIANTS.split()):
        name = f"{ACCENTS[index % len(ACCENTS)]}+{variant}"
        base_speed, base_pitch = random.uniforms(2, "demo speech voice", name)
        voices.append(name)
        for take in range(TAKES):
            for digit, word in enumerate(WORDS):
                wobble_speed, wobble_pitch = random.uniforms(2, "demo speech take", name, take, digit)
                speed = int(130 + 90 * base_speed + 30 * (wobble_speed - 0.5))
                pitch = int(20 + 60 * base_pitch + 20 * (wobble_pitch - 0.5))
                wave = synthesize(name, word, speed, pitch)
                clips.append([index, digit, take, speed, pitch, start, len(wave)])
                waves.append(wave)
                start += len(wave)
    blob = np.concatenate(waves).astype(np.int16) << 8  # soundfile takes 16 bits and keeps the upper 8
    soundfile.write(out / "speech.flac", blob, SAMPLE_RATE, format="FLAC", subtype="PCM_S8", compression_level=1.0)
    index_json = {
        "source": f"scripts/make_demo_speech.py with {version.split('Data at')[0].strip()}",
        "sample_rate": SAMPLE_RATE,
        "voices": voices,
        "fields": ["voice", "digit", "take", "words_per_minute", "pitch", "start", "length"],
        "recordings": clips,
    }
    text = json.dumps(index_json, separators=(",", ":")).replace("],[", "],\n[")
    (out / "speech.json").write_text(text + "\n", encoding="utf-8")


def make_digits(out: Path) -> None:
    """Writes digits.npz: the 1,797 pictures as uint8 [1797, 8, 8] of 0-16, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    np.savez_compressed(out / "digits.npz", images=data.images.astype(np.uint8), labels=data.target.astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parents[1] / "src" / "polysense" / "data" / "demo"
    parser.add_argument("--out", type=Path, default=default)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    make_speech(out)
    make_digits(out)
    for name in ("speech.flac", "speech.json", "digits.npz"):
        print(f"{out / name}: {(out / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
