"""`python -m gen3dface`: the same command as `gen3dface`."""

from gen3dface.cli import main

if __name__ == "__main__":
    main()
