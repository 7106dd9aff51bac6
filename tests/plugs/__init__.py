"""One new part for each plug point, one file each: tests/test_plug_points.py adds them."""
