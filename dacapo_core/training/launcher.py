"""Torch's launcher, which ends with the process that started it: ``python -m …``, as torchrun."""

from __future__ import annotations

from torch.distributed.run import main

from dacapo_core.training.launching import end_with_the_parent

if __name__ == "__main__":
    end_with_the_parent()
    main()
