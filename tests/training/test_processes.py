"""Two processes learn what one does, and go on when one of them was killed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
from safetensors.numpy import load_file

from bedside.protocol import ModelSection, TrainSection
from bedside.training import train

PROGRAM = """
import pickle, sys
from pathlib import Path
from bedside.training import train
cohort, model, section = pickle.loads(Path(sys.argv[1]).read_bytes())
if len(sys.argv) > 3:  # this process ends itself, as by a fault of its machine, after so many steps
    import os, signal
    from bedside.training import loop
    real = loop.Loop._step
    def counted(self, step):
        if os.environ["RANK"] == "1" and self.state.taken == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, step)
    loop.Loop._step = counted
train(cohort, model, section, Path(sys.argv[2]), seed=5)
from bedside.training import processes
processes.part()
"""


def together(tmp_path, folder, *more, processes=2):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launch, str(program), str(tmp_path / "arguments"), str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_processes_learn_what_one_does_and_survive_a_kill(cohort, tiny, tmp_path) -> None:
    model = ModelSection(base=str(tiny), window=32, overlap=4)
    settings = {"precision": "fp32", "device": "cpu", "threads": 1, "batch_tokens": 128, "epochs": 3}
    section = TrainSection(**settings, learning_rate=1e-3, checkpoint_seconds=0, step_notes=7)
    (tmp_path / "arguments").write_bytes(pickle.dumps((cohort, model, section)))
    train(cohort, model, section, tmp_path / "one", seed=5)
    done = together(tmp_path, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert max(float(np.abs(one[name] - two[name]).max()) for name in one) < 1e-4
    killed = together(tmp_path, tmp_path / "killed", "9")
    assert killed.returncode != 0
    assert list((tmp_path / "killed" / "checkpoints").glob("step-*"))
    assert not (tmp_path / "killed" / "model").exists()
    # Now and then only, by a clock: the processes must agree when, or one would wait for the other for ever.
    seldom = section.model_copy(update={"checkpoint_seconds": 0.05})
    (tmp_path / "arguments").write_bytes(pickle.dumps((cohort, model, seldom)))
    resumed = together(tmp_path, tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    again = load_file(tmp_path / "killed" / "model" / "model.safetensors")
    assert all(np.array_equal(two[name], again[name]) for name in two)
