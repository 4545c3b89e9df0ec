"""PanoHead (An et al., 2023) and EG3D (Chan et al., 2022): generators of heads, in plain PyTorch."""
