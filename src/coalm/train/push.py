"""Uploading what was trained to the Hugging Face Hub, when the user says so and never else."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from coalm.errors import TrainError
from coalm.train.folder import ADAPTER, MODEL

# The client's HTTP package has another name in every major release; its base error has not.
_HttpError: type[Exception] = next(c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError")
_WEIGHTS = ("adapter_config.json", "config.json")


def push(run: Path, repository: str, *, private: bool = True) -> str:
    """Upload an adapter or model, and its card, as one commit.

    The token is the user's own (`HF_TOKEN`, or `hf auth login`), and HF_ENDPOINT is respected.

    Args:
        run: a run folder that is finished, or a folder with weights in it.
        repository: `OWNER/NAME`; made where it does not exist.
        private: whether a repository that is made is hidden from others.

    Returns:
        Address of the commit.

    Raises:
        TrainError: `run` holds no weights, or the Hub refuses or cannot be reached.
    """
    places = (run, run / ADAPTER, run / MODEL)
    folder = next((p for p in places if any((p / n).is_file() for n in _WEIGHTS)), None)
    if folder is None:
        raise TrainError(f"{run} holds neither an adapter nor a model; train to the end first")
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Weights and card from coalm"
        )
    except (_HttpError, HFValidationError, LocalTokenNotFoundError, OSError, ValueError) as e:
        reason = " ".join(str(e).split())
        raise TrainError(
            f"{folder} cannot be uploaded to {repository}: {reason}; is HF_TOKEN set, and may it "
            "write there?"
        ) from e
    return str(done)
