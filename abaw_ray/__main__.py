"""``python -m abaw_ray``: the command ``abaw-ray`` where the package is not installed, as in the working directory of a submitted job."""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main()
