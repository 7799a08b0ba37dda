from probes.modes import alone


def test_every_mode_is_verified_with_the_options_it_names():
    modes = alone()
    assert modes["unequal units"].keywords["sizes"] == (4, 28)
    assert modes["float16 loss scaling"].keywords["scaler"].is_enabled()
    assert all(callable(mode) for mode in modes.values())
