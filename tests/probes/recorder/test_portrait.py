import re

import torch
from launches import torchrun

import ultraslow as us


def attached(path, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = us.attach(model, optimizer, path, batch_size=4, flush_seconds=0, **options)
    return model, optimizer, recorder


def train(model, optimizer, recorder, updates):
    for _ in range(updates):
        optimizer.zero_grad()
        for _ in range(2):
            loss = model(torch.randn(2, 3)).square().mean()
            (loss / 2).backward()
        recorder.observe(loss=loss.detach())
        optimizer.step()


def test_a_recorder_shows_its_newest_record_and_what_that_serves(tmp_path):
    path = tmp_path / "run"
    model, optimizer, recorder = attached(path, seed=1)
    assert repr(recorder) == f"<Recorder {path}: recording at iteration 0>"
    assert "none is on the disk yet" in recorder._repr_html_()
    train(model, optimizer, recorder, 8)
    page = recorder._repr_html_()
    assert repr(recorder) == f"<Recorder {path}: recording at iteration 8>"
    newest = int(re.search(r"iteration (\d+)</td></tr><tr><th[^>]*>distance", page)[1])
    assert 0 < newest <= 8
    assert "can serve P1, P5" in page
    assert '<td style="text-align:left">0.1</td>' in page
    file = recorder.close()
    assert repr(recorder) == f"<Recorder {file}: closed at iteration 8>"
    run = next(iter(us.load(file).children.values()))
    distance = float(run["distance_sq"][-1].sum()) ** 0.5
    assert f"{distance:.4g}" in recorder._repr_html_()


def test_one_that_is_left_says_so_and_names_are_text(tmp_path):
    path = tmp_path / "<b>\x1b[31m"
    model, optimizer, recorder = attached(path)
    train(model, optimizer, recorder, 2)
    try:
        with recorder:
            raise ValueError
    except ValueError:
        pass
    assert "left live at iteration 2" in repr(recorder)
    for text in (repr(recorder), recorder._repr_html_()):
        assert "\x1b" not in text
    assert "<b>" not in recorder._repr_html_()


SCRIPT = """
import os, sys, torch, torch.distributed as dist
import ultraslow as us
dist.init_process_group("gloo")
model = torch.nn.Linear(3, 1)
net = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = us.attach(net, optimizer, sys.argv[1], batch_size=4)
for k in range(4):
    optimizer.zero_grad()
    net(torch.randn(2, 3)).square().mean().backward()
    optimizer.step()
    if k % 2 == dist.get_rank():  # one process alone: a collective operation would hang
        print(dist.get_rank(), repr(recorder), recorder._repr_html_(), flush=True)
recorder.close()
print(dist.get_rank(), repr(recorder), flush=True)
dist.destroy_process_group()
"""


def test_any_process_shows_it_alone(tmp_path):
    script = tmp_path / "alone.py"
    script.write_text(SCRIPT)
    said = torchrun(script, tmp_path / "run")
    assert "1 of 2; process 0 writes" in said
    assert f"0 <Recorder {tmp_path}/run.nc: closed at iteration 4>" in said
    assert re.search(r"^1 <Recorder \S+/run(\.nc)?: ended at iteration 4>$", said, flags=re.M)
