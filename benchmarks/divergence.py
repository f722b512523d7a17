"""Cost of the trace's products, vector-Jacobian against Jacobian-vector, in forward passes of the network.

    python -m benchmarks.divergence        # about a minute on one core

The U-Nets of the digits' configurations at 8x8, float32, a batch of 32, random weights. A likelihood needs the
value and, for each probe, one product: by vjp a forward pass, kept, and a backward pass for each probe, batched
into one; by jvp dual numbers, with the probes batched too. Fused attention has no forward-mode rule, so the jvp runs
the plain one. Times are the least of several.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import models  # noqa: F401 - registers the networks
from likelihood import Hutchinson
from models.base import Network, register_model
from sde_lib import Noise

NETWORKS = {
    "adm": {"channels": 32, "num_heads": 4, "attention_resolutions": (4,), "norm_groups": 8},
    "ddpm": {"channels": 32, "attention_resolutions": (4,)},
}


def build(name: str) -> Network:
    torch.manual_seed(0)
    network: Network = register_model[name](
        image_size=8, in_channels=1, channel_mult=(1, 2), num_res_blocks=1, **NETWORKS[name]
    )
    for p in network.parameters():
        p.requires_grad_(False)
    return network.eval()


def least(f: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first pays one-off costs


def measure(name: str, batch: int, repeats: int) -> None:
    network, noise = build(name), Noise(0, range(batch))
    x, t = noise.normal((batch, 1, 8, 8)), torch.full((batch,), 500.0)

    def f(y: Tensor) -> Tensor:
        return network(y, t)

    def by_jvp(probes: Tensor) -> None:
        with sdpa_kernel(SDPBackend.MATH):
            tangents = probes.transpose(0, 1).reshape(-1, *x.shape)
            torch.func.vmap(lambda v: torch.func.jvp(f, (x,), (v,)))(tangents)

    with torch.no_grad():
        forward = least(lambda: f(x), repeats)
        for count in (1, 4):
            d = Hutchinson(num_probes=count)
            probes = d.draw(x, noise)
            vjp = least(functools.partial(d, f, x, probes), repeats) / forward
            jvp = least(functools.partial(by_jvp, probes), repeats) / forward
            print(f"{name:6} {count:6} {vjp:18.1f} {jvp:18.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':6} {'probes':>6} {'vector-Jacobian':>18} {'Jacobian-vector':>18}")
    for name in NETWORKS:
        measure(name, args.batch, args.repeats)


if __name__ == "__main__":
    main()
