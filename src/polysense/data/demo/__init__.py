"""The demo's table, spoken handwritten digits, made on the spot from assets of 3 MB that the package carries.

`table.make_demo` writes the table; `assets` reads the images and audio clips, `degrade` spoils them and `notes` writes
about them. Where the assets come from, and their licenses, stands in ATTRIBUTION.md beside this file.
"""
