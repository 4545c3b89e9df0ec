"""One denoising step: seconds, counted work, share of the device's matrix rate, memory, and what each saving brings.

    python benchmarks/denoise.py --size sd15 --device cpu --views 4

Weights and conditions are random: the cost does not depend on them. Counted: world volume, frusta, UNet in both
guidance halves and the scheduler's step; not the autoencoder, the image encoder or the estimation of the head, which
run once. FLOP are those of the multiplications in matrix products, convolutions and attention, as
torch.utils.flop_counter counts them; every order's share is of the first order's count, so that a share is a speed.
The orders take turns and the best time of each counts, so that other work on the machine favours none of them. With
one thread on a CPU, its own seconds of work are counted, for the steps as for the matrix product: waiting for a busy
machine is not.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from denoise_orders import COMPILED, ORDERS, Bench, Order
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Result:
    """What one order of work took."""

    order: Order
    seconds: float  # a step, the best of several
    tflop: float  # a step, counted
    peak: float | None  # GB, weights included
    difference: float  # largest absolute, from the first order's prediction
    scale: float  # largest absolute value of that prediction


def count_flop(run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result of a call, and TFLOP counted in it."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    known = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}  # it lacks this one
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        result = run()
    return result, counter.get_total_flops() / 1e12


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device) -> float:
    """A clock, after all work that was given to the device."""
    synchronize(device)
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def gemm_rate(device: torch.device, dtype: torch.dtype, repeats: int = 8) -> float:
    """TFLOP/s of a square matrix product, the best of several."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        start = seconds(device)
        a @ b
        best = min(best, seconds(device) - start)
    return 2 * n**3 / best / 1e12


def reset_peak(device: torch.device) -> bool:
    """Forget the memory's peak; False where the system cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory(device: torch.device) -> float:
    """GB since the last reset: of the device's allocator, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def count(bench: Bench, order: Order, first: Tensor | None) -> tuple[Result, Tensor]:
    """One step of an order, counted and compared; it also warms up."""
    fresh = reset_peak(bench.device)
    bench.lay_out(order)
    t = bench.models.scheduler.timesteps[0]
    # compiled code cannot be counted; it does the same work
    prediction, tflop = count_flop(lambda: bench.step(replace(order, compiled=False), bench.latents, t))
    if order.compiled:
        prediction = bench.step(order, bench.latents, t)
    wanted = prediction if first is None else first
    apart = (prediction - wanted).abs().max().item()
    peak = peak_memory(bench.device) if fresh else None
    print(f"{order.name}: {tflop:.3f} TFLOP, differs by {apart:.1e}, peak {peak} GB", file=sys.stderr, flush=True)
    return Result(order, float("inf"), tflop, peak, apart, wanted.abs().max().item()), prediction


def timed(bench: Bench, order: Order, t: Tensor) -> float:
    """Seconds of one step, with the scheduler's."""
    bench.lay_out(order)
    start = seconds(bench.device)
    bench.models.scheduler.step(bench.step(order, bench.latents, t), t, bench.latents)
    taken = seconds(bench.device) - start
    print(f"{order.name}: {taken:.3f} s", file=sys.stderr, flush=True)
    return taken


def report(results: list[Result], rate: float) -> None:
    """Print a table."""
    best = results[0]
    print("| order of work | s / step | of the best | TFLOP | share of GEMM | peak GB | max abs diff |")
    print("|---|---|---|---|---|---|---|")
    for r in results:
        share, peak = best.tflop / r.seconds / rate, "-" if r.peak is None else f"{r.peak:.2f}"
        print(
            f"| {r.order.name} | {r.seconds:.3f} | {r.seconds / best.seconds:.2f} x | {r.tflop:.3f} | {share:.0%} "
            f"| {peak} | {r.difference:.1e} |"
        )
    print(f"\nGEMM {rate:.3f} TFLOP/s; the largest prediction is {best.scale:.2f}.")
    quickest = min(results, key=lambda r: r.seconds)
    print(f"50 steps of the quickest order, {quickest.order.name}: {50 * quickest.seconds:.2f} s.")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["mini", "sd15"], required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="timed steps")
    parser.add_argument("--pixels", type=int, help="side of a view, a multiple of 64 (default: the size's own; sd15)")
    parser.add_argument("--brief", action="store_true", help="the first and the naive order alone")
    parser.add_argument("--compile", action="store_true", help="torch.compile as one more order of work")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    options = parser.parse_args()
    if not 1 <= options.views <= 16 or options.steps < 1:
        parser.error("--views is 1 to 16, --steps at least 1")
    if options.pixels is not None and (options.size == "mini" or options.pixels < 64 or options.pixels % 64):
        parser.error("--pixels is for sd15, a multiple of 64")
    dtype, device = DTYPES[options.dtype], torch.device(options.device)
    torch.backends.cudnn.benchmark = True  # the shapes of a step never change
    bench = Bench(options.size, options.views, options.device, dtype, options.pixels)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    print(
        f"{options.size}, {options.views} views at {bench.models.settings.image_size} px, {options.dtype}, {name}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, best of {options.steps} steps\n",
        flush=True,
    )
    scheduler, rate = bench.models.scheduler, gemm_rate(device, dtype)
    scheduler.set_timesteps(max(options.steps, 2), device=device)
    results: list[Result] = []
    first = None
    orders = (ORDERS[0], ORDERS[-1]) if options.brief else ORDERS
    for order in (orders[0], COMPILED, *orders[1:]) if options.compile else orders:
        result, prediction = count(bench, order, first)
        first = prediction if first is None else first
        results.append(result)
    for t in scheduler.timesteps[: options.steps]:
        results = [replace(r, seconds=min(r.seconds, timed(bench, r.order, t))) for r in results]
        rate = max(rate, gemm_rate(device, dtype))
    report(results, rate)


if __name__ == "__main__":
    main()
