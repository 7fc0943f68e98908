"""Whether the Hub can be reached, found out once. Imports nothing heavy: whoever reads from the Hub asks here."""

from __future__ import annotations

import os
import sys
import threading
from functools import lru_cache

PROBE_TIMEOUT_S = 3.0


@lru_cache(maxsize=1)
def hub_reachable() -> bool:
    """Returns whether the Hub answers within 3 s; asked once per process.

    If not, Hugging Face libraries are set offline from here on, in this process and its children: otherwise each of
    their requests may hang for half a minute behind a firewall.
    """
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PROBE_TIMEOUT_S)
            answered.set()
        except Exception:  # whatever keeps the Hub from answering, the answer is no
            pass

    # In a thread, because a name lookup that hangs obeys no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    if not answered.is_set():
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
        # These are read from the environment at import, which may have happened by now.
        constants.HF_HUB_OFFLINE = True
        if "datasets" in sys.modules:
            config = sys.modules["datasets"].config
            config.HF_HUB_OFFLINE = config.HF_DATASETS_OFFLINE = True
    return answered.is_set()
