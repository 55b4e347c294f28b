"""Packages, codecs, weights and credentials that this installation has. Nothing is downloaded."""

import importlib.metadata
import os
import platform
import sys
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from abaw_ray import __version__
from abaw_ray.cli.doctor.checks import Check
from abaw_ray.core.storage.weights import cached_file
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.faces.config import YUNET_HUB
from abaw_ray.faces.detection.weights import YUNET_FILE, YUNET_SHA256, cache_folder
from abaw_ray.features.config import WAV2VEC_HUB

_SHOWN = ("ray", "torch", "torchvision", "timm", "transformers", "deepspeed", "av", "opencv-python-headless", "numpy", "pyarrow")
_MODEL_FILES = ("model.safetensors", "pytorch_model.bin")
_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_DECODERS = ("h264", "hevc", "av1", "vp9")
_ENCODERS = ("libx264",)
WEIGHTS = {
    "YuNet": (YUNET_HUB, (YUNET_FILE,), "--weights FILE"),
    "SFace": ("opencv/face_recognition_sface", ("face_recognition_sface_2021dec.onnx",), ""),
    "DINOv2": (f"timm/{ModelConfig().name}", _MODEL_FILES, "--encoder.model.weights FILE"),
    "Wav2Vec 2.0": (WAV2VEC_HUB, _MODEL_FILES, "--features.speech.weights FOLDER"),
}
"""Model -> its repository on the model hub, names of its file of weights, and the option that names another source."""


def system() -> Check:
    """Operating system and Python."""
    found = f"abaw-ray {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}"
    values = {"abaw_ray": __version__, "python": platform.python_version(), "platform": sys.platform, "machine": platform.machine()}
    try:
        wanted = importlib.metadata.metadata("abaw_ray")["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        wanted = ""
    if not SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return Check(name="system", status="problem", found=found, remedy=f"use Python {wanted}", values=values)
    return Check(name="system", found=found, values=values)


def packages() -> Check:
    """Whether every package that this one requires is installed, in a version that was tested."""
    try:
        lines = importlib.metadata.requires("abaw_ray") or []
    except importlib.metadata.PackageNotFoundError:
        remedy = "in a checkout: pip install -c constraints.txt -e ."
        return Check(name="packages", status="note", found="abaw_ray is not installed, so versions cannot be compared", remedy=remedy)
    required = [wanted for wanted in map(Requirement, lines) if wanted.marker is None or wanted.marker.evaluate({"extra": ""})]
    versions = {wanted.name: _version(wanted.name) for wanted in required}
    missing = [wanted for wanted in required if not versions[wanted.name]]
    untested = [wanted for wanted in required if versions[wanted.name] and not wanted.specifier.contains(versions[wanted.name], prereleases=True)]
    shown = ", ".join(f"{name} {versions[name]}" for name in _SHOWN if versions.get(name))
    values = {"versions": versions, "missing": [wanted.name for wanted in missing], "untested": [wanted.name for wanted in untested]}
    if not missing and not untested:
        return Check(name="packages", found=f"{len(required)} of {len(required)} as tested: {shown}", values=values)
    texts = [f"{wanted.name} is missing" for wanted in missing]
    texts += [f"{wanted.name} {versions[wanted.name]} is not the tested {wanted.specifier}" for wanted in untested]
    remedy = "pip install " + " ".join(f"'{wanted.name}{wanted.specifier}'" for wanted in (*missing, *untested))
    return Check(name="packages", status="problem" if missing else "note", found=", ".join(texts), remedy=remedy, values=values)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def codecs() -> Check:
    """Whether PyAV decodes the usual kinds of video, and encodes H.264."""
    remedy = "install PyAV's own wheel: pip install --force-reinstall --no-deps 'av>=18,<19'"
    try:
        from av.codec import Codec
        from av.codec.codec import UnknownCodecError
    except Exception as error:  # a library that is missing or broken raises anything
        return Check(name="codecs", status="problem", found=f"PyAV cannot be imported: {' '.join(str(error).split())[:160]}", remedy=remedy)

    def has(name: str, mode: Literal["r", "w"]) -> bool:
        try:
            return bool(Codec(name, mode))
        except UnknownCodecError:
            return False

    decoders, encoders = {name: has(name, "r") for name in _DECODERS}, {name: has(name, "w") for name in _ENCODERS}
    lacking = [name for name, present in (decoders | encoders).items() if not present]
    found = f"decodes {', '.join(name for name in decoders if decoders[name])}; encodes {', '.join(name for name in encoders if encoders[name])}"
    values = {"decoders": decoders, "encoders": encoders}
    if not lacking:
        return Check(name="codecs", found=found, values=values)
    status = "note" if decoders["h264"] else "problem"
    return Check(name="codecs", status=status, found=f"PyAV lacks {', '.join(lacking)}", remedy=remedy, values=values)


def weights() -> list[Check]:
    """Whether the pretrained weights are on this machine."""
    checks = []
    for model, (repository, names, option) in WEIGHTS.items():
        path = cached_file(repository, names)
        if model == "YuNet" and path is None and (own := cache_folder() / f"{YUNET_SHA256}.onnx").is_file():
            path = own
        if path is not None:
            checks.append(Check(name=model, found=f"in {path}", values={"path": str(path)}))
            continue
        remedy = f"it is downloaded once when it is first needed; without a network, copy it{f' and give {option}' if option else ' into that cache'}"
        found = f"{repository} is not in the cache of the model hub's client"
        checks.append(Check(name=model, status="note", found=found, remedy=remedy, values={"path": None}))
    return checks


def credentials() -> Check:
    """Which variables for access to object stores are set; their values are not read."""
    names = [name for name in _CREDENTIALS if os.environ.get(name)]
    if ("AWS_ACCESS_KEY_ID" in names) != ("AWS_SECRET_ACCESS_KEY" in names):
        remedy = "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return Check(name="credentials", status="note", found=f"only {' and '.join(names)}", remedy=remedy, values={"variables": names})
    found = f"{', '.join(names)} set" if names else "none in the environment; only s3:// and gs:// need them, and profiles and roles serve too"
    return Check(name="credentials", found=found, values={"variables": names})
