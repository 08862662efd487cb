"""The model card: `README.md` beside the trained weights, in the form that the Hub reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from coalm import jsonl
from coalm.train.config import TrainConfig

CARD = "README.md"
_LICENSES = {
    r"(meta-llama/(Meta-)?Llama-3\.1-|uiuc-convai/CoALM-(8|405)B)": "llama3.1",
    r"meta-llama/Llama-3\.2-": "llama3.2",
    r"(meta-llama/Llama-3\.3-|uiuc-convai/CoALM-70B)": "llama3.3",
    r"(HuggingFaceTB/)?SmolLM2-|coalm-135m$": "apache-2.0",
    r"Qwen/Qwen2\.5-(0\.5|1\.5|7|14|32)B": "apache-2.0",
    r"Qwen/Qwen3-": "apache-2.0",
}
"""Licences of base models, as their own cards on the Hub name them."""
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def write_model_card(
    folder: Path, config: TrainConfig, description: Mapping[str, Any], log: Path
) -> None:
    """Write the card of what was trained.

    Args:
        folder: of the adapter or model; a card that is there is replaced.
        config: of the run.
        description: what `run.json` says of it.
        log: its `log.jsonl`.
    """
    (folder / CARD).write_text("\n".join(_lines(config, description, log)), encoding="utf-8")


def base_license(name: str) -> str | None:
    """Licence of a base model: from the card in its folder, or by its name; None if unknown."""
    try:
        found = _FRONT_MATTER.match((Path(name) / CARD).read_text(encoding="utf-8"))
        matter = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        matter = None
    if isinstance(matter, dict) and isinstance(matter.get("license"), str):
        return str(matter["license"])
    return next((to for at, to in _LICENSES.items() if re.match(at, name, re.IGNORECASE)), None)


def _lines(config: TrainConfig, description: Mapping[str, Any], log: Path) -> Iterator[str]:
    base, adapter = config.model.model_name, config.training.use_peft
    license_ = base_license(base)
    matter = {
        "base_model": base,
        "library_name": "peft" if adapter else "transformers",
        "license": license_ or "other",
        "pipeline_tag": "text-generation",
        "tags": ["coalm", "dialogue", "tool-use", *(["lora"] if adapter else [])],
    }
    kind = "A LoRA adapter for" if adapter else "All weights of"
    yield f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n"
    yield f"# {config.training.run_name or config.training.output_dir.name}\n"
    yield f"{kind} `{base}`, trained with coalm {description['versions']['coalm']}. The licence of"
    known = f"is {license_}" if license_ else "is not known here; see the base model's card"
    yield f"the base model {known}; it holds for what is derived from it.\n"
    yield "## Figures\n"
    yield from _figures(log)
    yield "\n## Data\n"
    yield from _table(("split", "file", "sha256"), _files(description))
    yield "\n## Configuration\n"
    yield f"```yaml\n{yaml.safe_dump(config.model_dump(mode='json'), sort_keys=False)}```\n"
    yield "## Versions\n"
    processes = description["processes"]
    yield f"Trained in {processes} process{'es' if processes > 1 else ''}.\n"
    yield from _table(("package", "version"), description["versions"].items())
    yield ""


def _figures(log: Path) -> Iterator[str]:
    """Loss per token of the last step and of the last validation, in all and by skill."""
    last: dict[str, Mapping[str, Any]] = {}
    for _, row in jsonl.read(log):
        last["eval_loss" if "eval_loss" in row else "loss"] = row
    rows: list[tuple[str, ...]] = []
    for key, name in (("loss", "training"), ("eval_loss", "validation")):
        if row := last.get(key):
            skills = row[f"{key}_by_skill"].items()
            for skill, loss in (("all", row[key]), *skills):
                rows.append((name, str(row["step"]), skill, f"{loss:.4f}"))
    yield from _table(("loss per token", "step", "skill", "value"), rows)


def _files(description: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for split, files in description["data"].items():
        for file in files:
            yield split, Path(file["path"]).name, file["sha256"]


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    headings = list(headings)
    for cells in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(cells)} |"
