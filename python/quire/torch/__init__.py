"""nn.Embedding and nn.EmbeddingBag with their rows on a Quire server.

    import quire.torch

    embedding = quire.torch.RemoteEmbedding(10, 3, table="words",
                                            server="127.0.0.1:7847")
    optimizer = quire.torch.Optimizer(model)

docs/TORCH.md says what else differs from torch's own. Needs torch 1.13 or
later; `import quire` alone does not import it.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "quire.torch needs torch, which is not installed: apt install "
        "python3-torch, or pip install torch") from error

from .checkpoint import (gather_state_dict, load_checkpoint,
                         save_checkpoint)
from .collection import RemoteEmbeddingCollection
from .embedding import RemoteEmbedding, RemoteEmbeddingBag
from .offload import offload
from .optimizer import Optimizer
from .prefetch import Prefetch

__all__ = ["RemoteEmbedding", "RemoteEmbeddingBag",
           "RemoteEmbeddingCollection", "Optimizer", "Prefetch", "offload",
           "gather_state_dict", "save_checkpoint", "load_checkpoint"]
