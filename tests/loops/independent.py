"""Distance and noise of a program's training by a computation of its own; nothing of the probes'.

The gradient of each backward pass comes from `torch.autograd.grad` of the same roots just before
it, in float64, on this process; of sharded weights from a second, whole model with the same
weights and inputs. An update's gradient is their sum, averaged over processes; the distance is the
difference of weights in float64. From the recorder only `iteration` is read, to know when an
update was over, and what the program tells it of units.
"""

import itertools
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist

import ultraslow as us


def whole(tensor):
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).double()


class Independent:
    """What a program's recorder should record; `with Independent() as truth: exec(program)`.

    Arguments:
        processes: that average gradients.
        twin: makes the whole model that a sharded one stands for, whose call gives the loss.
        forgotten: names of options and methods that the recorder is not told of.
        told: options that it is told instead of the program's.
    """

    def __init__(self, processes=1, twin=None, *, forgotten=(), told=None):
        self.processes, self.twin = processes, twin
        self.forgotten, self.instead = set(forgotten), told or {}
        self.recorder = None
        self.told = ExitStack()
        self.distances, self.units, self.declared = [], [], []
        self.updates = []

    def __enter__(self):
        self.attach, self.backward = us.attach, torch.autograd.backward
        self.scale = torch.amp.GradScaler.scale
        self.scaler = None
        self.told.enter_context(patch.object(us, "attach", self.attached, create=True))
        self.told.enter_context(patch.object(torch.autograd, "backward", self.passing))
        self.told.enter_context(patch.object(torch.amp.GradScaler, "scale", self.scaling()))
        return self

    def __exit__(self, kind, *rest):
        self.told.close()
        if kind is not None and self.recorder is not None:
            self.recorder.__exit__(kind, *rest)  # of a program that failed

    def attached(self, model, optimizer, path, *, batch_size, **options):
        """Attach, and remember the weights."""
        self.names = {
            name.removeprefix("module."): p
            for name, p in model.named_parameters()
            if p.requires_grad
        }
        self.initial = [whole(p).clone() for p in self.names.values()]
        self.path, self.batch_size = path, batch_size
        self.distances, self.updates = [np.zeros(len(self.names))], []
        self.parts, self.declared, self.open, self.inside = [], [], None, False
        self.ignoring = False
        if self.twin is not None:
            model.register_forward_pre_hook(self.called)
        options = {k: v for k, v in options.items() if k not in self.forgotten}
        options = {"batch_size": batch_size, **options, **self.instead}
        self.recorder = self.attach(model, optimizer, path, **options)
        self.close = self.recorder.close
        self.listen(self.recorder)
        return self.recorder

    def listen(self, recorder):
        """Hear what the program says of its units."""
        unit, close = recorder.unit, recorder.close

        def declared(*, size, weight=None):
            self.settle()
            self.declared.append((size, weight))
            if "unit" not in self.forgotten:
                unit(size=size, weight=weight)

        def closed():
            self.settle()
            return close()

        recorder.unit, recorder.close = declared, closed
        for name in ("one_unit", "unmeasured"):
            if hasattr(recorder, name):
                setattr(recorder, name, self.within(name, getattr(recorder, name)))

    def within(self, name, original):
        @contextmanager
        def entered():
            self.settle()
            before = self.open, self.ignoring
            self.open, self.ignoring = ([], False) if name == "one_unit" else (None, True)
            with nullcontext() if name in self.forgotten else original():
                yield
            joined, (self.open, self.ignoring) = self.open, before
            if joined:
                self.parts.append([sum(several) for several in zip(*joined, strict=True)])

        return entered

    def scaling(self):
        original = self.scale

        def scale(scaler, outputs):
            self.scaler = scaler
            return original(scaler, outputs)

        return scale

    def called(self, _, arguments):
        self.arguments = arguments

    @torch.compiler.disable
    def passing(self, tensors, grad_tensors=None, *arguments, **options):
        """A backward pass begins."""
        if self.recorder is None or self.inside:
            return self.backward(tensors, grad_tensors, *arguments, **options)
        self.settle()
        self.inside = True
        try:
            if not self.ignoring:
                if all(p.grad is None or not bool(p.grad.any()) for p in self.names.values()):
                    self.parts = []  # gradients were cleared without a step
                found = self.alone(tensors)
                if any(bool(one.any()) for one in found):
                    (self.parts if self.open is None else self.open).append(found)
            return self.backward(tensors, grad_tensors, *arguments, **options)
        finally:
            self.inside = False

    def alone(self, loss):
        """The gradient of this pass on this process, a share of the mean."""
        parameters = list(self.names.values())
        if self.twin is not None:
            with torch.random.fork_rng():
                twin = self.twin()
            full = {name: whole(p) for name, p in self.names.items()}
            twin.load_state_dict({name: value.float() for name, value in full.items()})
            twins = dict(twin.named_parameters())
            parameters = [twins[name] for name in self.names]
            anew = twin(*self.arguments)
            loss, share = anew, float(loss.detach() / anew.detach())
        else:
            share = 1.0
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        scale = self.scaler.get_scale() if self.scaler is not None else 1.0
        share /= self.processes * scale
        return [
            torch.zeros_like(p, dtype=torch.float64) if g is None else g.detach().double() * share
            for g, p in zip(found, parameters, strict=True)
        ]

    def settle(self):
        """Enter the update that was committed since the last look, if one was."""
        if self.recorder is None or self.recorder.iteration < len(self.distances):
            return
        moved = zip(self.names.values(), self.initial, strict=True)
        self.distances.append(np.array([float((whole(p) - w0).square().sum()) for p, w0 in moved]))
        self.updates.append(self.update())
        self.parts, self.declared = [], []

    def update(self):
        """Big, |G|² and tr Σ `(tensor,)`, units and samples of the update that is over."""
        unit_sq = torch.zeros(len(self.names), dtype=torch.float64)
        total = [torch.zeros_like(w0) for w0 in self.initial]
        for part in self.parts:
            unit_sq += torch.stack([one.square().sum() for one in part])
            total = [a + b for a, b in zip(total, part, strict=True)]
        units, samples = len(self.parts) * self.processes, float(self.batch_size)
        for value in [unit_sq, *total] if self.processes > 1 else []:
            dist.all_reduce(value)
        total_sq = torch.stack([one.square().sum() for one in total])
        if self.declared:
            sizes = [size for size, _ in self.declared]
            samples = float(sum(sizes)) * self.processes
        u = 1 / max(units, 1)
        v = 1 / samples
        if any(weight is not None for _, weight in self.declared):
            u = sum(a**2 for _, a in self.declared) * self.processes
            v = sum(a**2 / n for n, a in self.declared) * self.processes
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient_sq = (total_sq - unit_sq).numpy() / np.float64(1 - u)
            noise_trace = (unit_sq - u * total_sq).numpy() / np.float64((1 - u) * v)
        return {
            "mean_sq": total_sq.numpy(),
            "gradient_sq": gradient_sq,
            "noise_trace": noise_trace,
            "units": units,
            "samples": samples,
        }

    def compare(self, run, *, largest=np.max):
        """Largest relative errors of a recording, by quantity; `np.nanmax` skips what is unknown.

        An update whose noise was left out counts for nothing in the truth of a window of several.
        """
        times = run["iteration"].values
        assert times[-1] == len(self.updates)
        assert list(run["tensor"].values) == list(self.names)
        distances = np.array(self.distances)[times]
        recorded = run["distance_sq"].values
        tensors = np.abs(np.sqrt(recorded) - np.sqrt(distances)).max(axis=1)[1:]
        errors = {"distance": (tensors / np.sqrt(distances.sum(axis=1))[1:]).max()}
        truth = {
            name: np.array(
                [
                    np.mean([one[name] for one in self.updates[a:b]], axis=0)
                    for a, b in itertools.pairwise(times)
                ]
            )
            for name in self.updates[0]
        }
        scales = {
            "mean_sq": truth["mean_sq"].sum(axis=1),
            "gradient_sq": truth["mean_sq"].sum(axis=1),
            "noise_trace": np.abs(truth["noise_trace"].sum(axis=1)),
        }
        for name, scale in scales.items():
            found = run[name].values[1:] if name in run else np.full(truth[name].shape, np.nan)
            errors[name] = largest([*np.abs(found - truth[name]).max(axis=1) / scale, 0.0])
        errors["units"] = np.abs(run["units"].values[1:] - truth["units"]).max()
        seen = np.cumsum([one["samples"] for one in self.updates])[times[1:] - 1]
        errors["samples"] = np.abs(run["samples"].values[1:] - seen).max()
        return {name: float(error) for name, error in errors.items()}
