"""Attention transfer in training loops of others: the page's examples, each where its library is installed.

Lightning and Transformers are no dependency, not even of the tests: with what they need they are 20 to 200 MB.
"""

import copy
import re
from contextlib import chdir

import pytest
import torch
from prose import prose
from torch.optim.optimizer import register_optimizer_step_post_hook

SETUP, *EXAMPLES = re.findall(r"```python\n(.*?)```", prose("notebooks/look_for_yourself.ipynb"), flags=re.DOTALL)


def test_there_is_an_example_for_each_loop():
    assert len(EXAMPLES) == 4 and all(len(example.splitlines()) <= 16 for example in EXAMPLES)


@pytest.mark.parametrize("library", ["torch", "pytorch_lightning", "transformers", "timm"])
def test_the_student_learns_and_the_teacher_does_not(library, tmp_path):
    pytest.importorskip(library, reason=f"{library} is not installed; pip install {library} to execute its example")
    (example,) = (
        each for each in EXAMPLES if (re.findall("(?:import|from) ([a-z_]+)", each) or ["torch"])[0] == library
    )
    torch.manual_seed(0)
    names: dict = {"__name__": "example"}
    with chdir(tmp_path):
        exec(compile(SETUP, "setup", "exec"), names)
        before = copy.deepcopy(names["teacher"].state_dict())
        terms, steps = [], []
        names["transfer"].register_forward_hook(lambda _module, _groups, term: terms.append(term))
        hook = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer.param_groups))
        exec(compile(example, library, "exec"), names)
        hook.remove()
    assert len(terms) == len(steps) == 2 and all(term.requires_grad and 0 < term < torch.inf for term in terms)
    learning = {parameter for groups in steps for group in groups for parameter in group["params"]}
    assert learning == set(names["student"].parameters())
    assert all(torch.equal(value.cpu(), before[name]) for name, value in names["teacher"].state_dict().items())
