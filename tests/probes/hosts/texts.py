"""Trainings by transformers, and by a plain loop that weighs batches as its Trainer does."""

from contextlib import nullcontext

import loops
import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from ultraslow import probes

LENGTH, WORDS = 6, 11


class Classifier(torch.nn.Module):
    """Its loss is the mean over the batch, whatever else the update has."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.net = loops.network(dropout)

    def forward(self, inputs, labels):
        return {"loss": torch.nn.functional.cross_entropy(self.net(inputs), labels)}


class Takes(Classifier):
    """It takes the number of tokens in an update, and leaves it alone."""

    def forward(self, inputs, labels, **_):
        return super().forward(inputs, labels)


def language_model(dropout=0.0):
    """Its loss is the sum over the tokens of the batch, by the tokens of the update."""
    torch.manual_seed(5)
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 12}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "attention_dropout": dropout}
    text = {"vocab_size": WORDS, "max_position_embeddings": LENGTH}
    return LlamaForCausalLM(LlamaConfig(**shape, **heads, **text))


def data(model):
    """What a model is trained on: texts of two to six words, or what other hosts train on."""
    if isinstance(model, Classifier):
        return [{"inputs": inputs, "labels": label} for inputs, label in loops.data()]
    generator = torch.Generator().manual_seed(3)
    words = torch.randint(WORDS, (loops.SAMPLES, LENGTH), generator=generator)
    lengths = torch.randint(2, LENGTH + 1, (loops.SAMPLES,), generator=generator)
    labels = words.where(torch.arange(LENGTH) < lengths[:, None], torch.tensor(-100))
    return [{"input_ids": w, "labels": told} for w, told in zip(words, labels, strict=True)]


def trainer(model, folder, *, callbacks=(), kind=Trainer, sharded=False, **more):
    given = {
        "output_dir": str(folder / "saved"),
        "use_cpu": True,
        "per_device_train_batch_size": loops.EACH,
        "gradient_accumulation_steps": loops.ACCUMULATED,
        "max_grad_norm": loops.CLIP,
        "num_train_epochs": 2,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "logging_strategy": "no",
        "lr_scheduler_type": "constant",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    told = TrainingArguments(**{**given, **more})
    if sharded:  # Accelerate has no FSDP on CPUs, where it is told that they are
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        rates = {"lr": loops.RATE, "momentum": loops.MOMENTUM}
        moves = {"optimizer_cls_and_kwargs": (torch.optim.SGD, rates)}
    else:
        optimizer = loops.optimizer_of(model)
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        moves = {"optimizers": (optimizer, constant)}
    return kind(
        model=model,
        args=told,
        train_dataset=data(model),
        eval_dataset=data(model),
        callbacks=[*callbacks],
        **moves,
    )


def dealt(samples, rank, world):
    """Batches of one epoch, as Accelerate deals them out."""
    return [
        {key: torch.stack([sample[key] for sample in batch]) for key in batch[0]}
        for batch in loops.dealt(samples, rank, world)
    ]


def tokens(batch):
    return int(batch["labels"][..., 1:].ne(-100).sum())


def train(model, path, *, rank=0, world=1, waiting=nullcontext):
    """A plain loop over two epochs."""
    inner = getattr(model, "module", model)
    counts = isinstance(inner, LlamaForCausalLM)
    optimizer = loops.optimizer_of(model)
    updates = loops.UPDATES if world == 1 else 8
    size = loops.EACH * loops.ACCUMULATED * world
    labels = {"data_size": loops.SAMPLES, "seed": 42}
    model.train()
    with probes.attach(
        model, optimizer, path, batch_size=size, **labels, **loops.options(updates)
    ) as recorder:
        for _ in range(2):
            everyone = [dealt(data(inner), one, world) for one in range(world)]
            for start in range(0, len(everyone[rank]), loops.ACCUMULATED):
                update = [epoch[start : start + loops.ACCUMULATED] for epoch in everyone]
                mine = update[rank]
                total = sum(tokens(batch) for part in update for batch in part) if counts else 0
                samples = sum(len(batch["labels"]) for batch in mine) * world
                for index, batch in enumerate(mine):
                    share = tokens(batch) / total if counts else 1 / len(mine) / world
                    held = share * samples if counts else len(batch["labels"])
                    recorder.unit(size=held, weight=share)
                    with nullcontext() if index + 1 == len(mine) else waiting():
                        if counts:
                            loss = (
                                model(**batch, num_items_in_batch=torch.tensor(total))[0] * world
                            )
                        else:
                            loss = model(**batch)["loss"] / len(mine)
                        loss.backward()
                    recorder.observe(loss=loss.detach() * len(mine))
                torch.nn.utils.clip_grad_norm_(model.parameters(), loops.CLIP)
                optimizer.step()
                optimizer.zero_grad()
    return model
