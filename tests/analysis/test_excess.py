from analysis.excess import explained_excess


def test_drift_explains_the_excess_that_the_theory_gives(make):
    runs = {f"b{size}": make(batch_size=size, seed=1) for size in (50, 1000)}
    found = explained_excess(runs)
    # The simulated noise scale is 200 within 1 %: (1 + 5)/(1 + 0.25) = 4.8
    assert "= 4.8" in found or "= 4.7" in found
    assert explained_excess({"a": make(scaling="linear")}) == ""
    assert explained_excess({"a": make(noise_trace=None)}) == ""
