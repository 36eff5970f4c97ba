"""The batches of a search: the same from wherever it goes on, and as many as were announced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from search.data.splits import derive_seed
from search.spec import OptimiserSpec, SearchSpec
from search.training.search_plan import SearchPlan

ADAM = OptimiserSpec(method="adam", learning_rate=1e-3)


@given(num=st.integers(2, 40), size=st.integers(2, 9), warmup=st.integers(0, 3), epochs=st.integers(1, 4))
@examples(max_examples=30)
def test_batches_are_as_many_as_announced(num: int, size: int, warmup: int, epochs: int) -> None:
    """Per epoch first those of the logits, none in the warm-up, then those of the weights, each of its own samples."""
    spec = SearchSpec(epochs=epochs, warmup_epochs=warmup, batch_size=size, weights=ADAM)
    plan = SearchPlan(spec, num, 3)
    upcoming = list(plan.upcoming(0, 0))
    assert len(upcoming) == plan.count_steps(0, epochs)
    arch = set(plan.arch_indices.tolist())
    for epoch in range(epochs):
        begin = plan.count_steps(0, epoch)
        for index, batch in enumerate(upcoming[begin : plan.count_steps(0, epoch + 1)]):
            assert (set(batch.indices.tolist()) <= arch) == (index < plan.count_logits_steps(epoch))
            assert batch.seed == derive_seed(3, "samples", epoch, index)


@given(step=st.integers(0, 7), epoch=st.integers(0, 2))
@examples(max_examples=10)
def test_a_search_goes_on_with_the_batches_it_would_have_had(step: int, epoch: int) -> None:
    """From any step on the plan is the rest of the whole plan."""
    plan = SearchPlan(SearchSpec(epochs=3, warmup_epochs=1, batch_size=4, weights=ADAM), 30, 0)
    step = min(step, plan.count_steps(epoch, epoch + 1))
    whole, rest = list(plan.upcoming(0, 0)), list(plan.upcoming(epoch, step))
    seeds = [batch.seed for batch in whole[plan.count_steps(0, epoch) + step :]]
    assert [batch.seed for batch in rest] == seeds
