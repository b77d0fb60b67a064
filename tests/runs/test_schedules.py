import pytest

from at_repro.runs.schedules import decay_factor, rate_factor

MILESTONES = (0.3, 0.6, 0.8)


@pytest.mark.parametrize(
    ("epochs", "drops"),
    [(200, (60, 120, 160)), (40, (12, 24, 32)), (60, (18, 36, 48))],
)
def test_the_rate_drops_by_a_fifth_at_the_papers_fractions(epochs, drops):
    """Epochs are counted from 0: with 200, the first 60 are at the full rate, as Section 4.1 has it."""
    expected = [0.2 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]
    assert [rate_factor(epoch, epochs, MILESTONES, 0.2) for epoch in range(epochs)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("decay", "values"),
    [
        ("constant", (1.0, 1.0, 1.0)),
        ("linear", (1.0, 0.5, 0.1)),
        ("cosine", (1.0, 0.5, 0.0244717)),  # (1 + cos(0.9 pi)) / 2
        ("step", (0.2, 0.2, 0.2)),
    ],
)
def test_decay_of_a_terms_weight(decay, values):
    assert [decay_factor(decay, epoch, 10, 0.2) for epoch in (0, 5, 9)] == pytest.approx(values, abs=1e-6)
