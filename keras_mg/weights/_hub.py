"""`hf://owner/repository[@revision][/file]`: files of the Hugging Face Hub, by its own library."""

from __future__ import annotations

import os
from pathlib import Path

from keras_mg.weights._arrays import PathLike, WeightsError
from keras_mg.weights._download import DownloadError, cache_folder, is_offline
from keras_mg.weights._transfer import shown

DEFAULT_FILE = "model.weights.h5"
"""What Keras calls the weights in a model that it puts on the Hub."""
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def parse_hub(text: str) -> tuple[str, str | None, str]:
    """The repository, the revision and the file of an `hf://` address.

    Example:
        >>> from keras_mg.weights._hub import parse_hub
        >>> parse_hub("hf://someone/net@v1/net.pth")
        ('someone/net', 'v1', 'net.pth')
    """
    names = text.partition("://")[2].strip("/").split("/")
    odd = any(name in ("", ".", "..") or "\\" in name or "\0" in name for name in names)
    if len(names) < 2 or odd or "@" in names[0]:
        raise WeightsError(
            f"weights {shown(text)!r}: expected hf://owner/repository/file or hf://owner/repository."
        )
    repository, _, revision = names[1].partition("@")
    return f"{names[0]}/{repository}", revision or None, "/".join(names[2:]) or DEFAULT_FILE


def fetch_from_hub(
    text: str, *, cache_dir: PathLike | None, offline: bool | None, progress: bool
) -> Path:
    """The file at an `hf://` address, from the Hub's cache (`HF_HOME`) or fetched into it.

    Args:
        text: the address.
        cache_dir: None for the Hub's own cache; otherwise see `cache_folder`.
        offline: True never fetches; None asks the environment variable `KERAS_MG_OFFLINE`.
        progress: whether to show a progress bar.

    Raises:
        ImportError: huggingface_hub is not installed.
        DownloadError: (a `ValueError`) there is no such file, or it cannot be fetched.
    """
    repository, revision, file = parse_hub(text)
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f'weights {text!r}: hf:// needs huggingface_hub: pip install "keras-mg[hf]"'
        ) from error
    from huggingface_hub import errors, utils

    only_local = is_offline(offline)
    silence = not progress and not utils.are_progress_bars_disabled()
    if silence:
        utils.disable_progress_bars()
    try:
        path = huggingface_hub.hf_hub_download(
            repository,
            file,
            revision=revision,
            cache_dir=None if cache_dir is None else cache_folder(cache_dir),
            endpoint=os.environ.get("HF_ENDPOINT") or None,
            local_files_only=only_local,
        )
    except errors.GatedRepoError:
        reason = f"{repository} asks for an agreement: accept it on its page and {LOG_IN}"
    except errors.RepositoryNotFoundError:
        reason = f"there is no repository {repository}, or it is private: {LOG_IN}"
    except errors.RevisionNotFoundError:
        reason = f"{repository} has no revision {revision!r}"
    except errors.LocalEntryNotFoundError:
        state = (
            "offline, and it is not" if only_local else "no answer of the Hub helps, and it is not"
        )
        reason = f"{state} in the cache folder"
    except errors.EntryNotFoundError:
        reason = f"{repository} has no file {file!r}"
    except errors.HFValidationError:
        reason = f"{repository!r} is no name of a repository"
    except OSError as error:  # the library's errors of HTTP, and a full disk
        response = getattr(error, "response", None)
        answer = getattr(response, "status_code", None) or error.strerror or type(error).__name__
        reason = f"it could not be fetched ({answer})"
    else:
        return Path(path)
    finally:
        if silence:
            utils.enable_progress_bars()
    raise DownloadError(f"weights {shown(text)!r}: {reason}.")
