"""Programs of these folders are run by the tests, and not looked through for examples."""

collect_ignore_glob = ["alone/*", "together/*"]
