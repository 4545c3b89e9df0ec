"""Steps of tools/build_open_head.py: the derivation of the shipped OpenHead model from CC0 MakeHuman data."""
