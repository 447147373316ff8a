"""Reports: pages (jinja2 templates), charts (SVG), previews of cells, the terminal's tables and the model card.

The modules here build what a template shows, and compute nothing that belongs to an evaluation.
"""
