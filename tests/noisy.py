"""A network that draws, from the default generator of where it computes."""

from torch import Tensor, nn

from at_repro.networks import Output


class Noisy(nn.Module):
    """Forgets half of what it sees."""

    def __init__(self, classes: int):
        super().__init__()
        self.only, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Output:
        group = self.only(images)
        kept = nn.functional.dropout(group, 0.5, self.training)
        return Output(self.fc(kept.mean((2, 3))), (group,))
